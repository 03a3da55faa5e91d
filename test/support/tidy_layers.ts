// Who may import whom, as data, and the check of one file against it. It reads no file itself: text in, problems out.
// It must not know what any module does, only where it lies.

/** One layer. Paths ending in "/" are folders, others single files, "node:" the runtime's modules, the rest packages. */
interface Layer {
  readonly path: string;
  readonly mayImport: readonly string[];
  /** What lies inside a permitted folder and yet is closed to this layer. */
  readonly never?: readonly string[];
  /** Permitted as `import type` only: a narrow interface, no code. */
  readonly typesOnly?: readonly string[];
}

const foundation = ["src/ports.ts", "src/limits.ts", "src/errors.ts"];
const adapterEntry = ["node:", "adapters/common/", "src/run.ts", "src/run/", "src/cli/", "src/ports.ts"];

/** The first layer whose path covers a file is the file's layer; a layer may always import itself. */
export const layers: readonly Layer[] = [
  { path: "src/errors.ts", mayImport: [] },
  { path: "src/limits.ts", mayImport: ["src/errors.ts"] },
  { path: "src/version.ts", mayImport: [] },
  { path: "src/ports.ts", mayImport: ["src/errors.ts"] },
  { path: "src/mqtt/", mayImport: ["src/errors.ts", "src/limits.ts", "mqtt-packet"] },
  { path: "src/log/", mayImport: [...foundation, "src/mqtt/", "src/telemetry/"] },
  {
    path: "src/gateway/",
    mayImport: [...foundation, "src/mqtt/", "src/log/", "src/access/", "src/telemetry/"],
    never: ["src/log/memory_store.ts"],
  },
  {
    path: "src/kafka/",
    mayImport: [
      ...foundation,
      "src/log/",
      "src/mqtt/topics.ts",
      "src/mqtt/utf8.ts",
      "src/mqtt/message.ts",
      "src/mqtt/payload_format.ts",
      "src/mqtt/user_properties.ts",
      "src/telemetry/",
      "@platformatic/kafka",
    ],
  },
  { path: "src/http/", mayImport: [...foundation, "src/telemetry/", "hono", "valibot"], typesOnly: ["src/gateway/"] },
  { path: "src/access/", mayImport: [...foundation, "src/mqtt/topics.ts"] },
  {
    path: "src/config/",
    mayImport: [...foundation, "src/mqtt/topics.ts", "src/kafka/route", "src/access/", "valibot"],
  },
  { path: "src/telemetry/", mayImport: [...foundation, "@logtape/logtape"] },
  {
    path: "src/cli/",
    mayImport: [...foundation, "src/config/", "src/kafka/route", "src/mqtt/topics.ts", "src/access/"],
    typesOnly: ["src/log/"],
  },
  { path: "src/run.ts", mayImport: ["src/"] },
  { path: "src/run/", mayImport: ["src/"] },
  { path: "adapters/common/", mayImport: [...foundation, "node:", "@hono/node-server"] },
  { path: "adapters/node/", mayImport: adapterEntry },
  { path: "adapters/bun/", mayImport: [...adapterEntry, "bun"] },
  { path: "adapters/deno/", mayImport: adapterEntry },
];

/** A third-party format lives behind one file, or one folder; nothing else may name the package. */
export const packageOwners: Readonly<Record<string, RegExp>> = {
  "mqtt-packet": /^src\/mqtt\/(?:codec|mqtt_packet|other_packets)\w*\.ts$/,
  "@platformatic/kafka": /^src\/kafka\/kafka_package\.ts$/,
  hono: /^src\/http\//,
  valibot: /^src\/(?:config|http)\//,
};

export interface Import {
  readonly specifier: string;
  readonly typeOnly: boolean;
  readonly line: number;
}

/** The source with its comments blanked, lines kept. Comments at the end of a line of code stay: strings hold "//". */
export function withoutComments(source: string): string {
  return source
    .replace(/^[ \t]*\/\*[\s\S]*?\*\//gm, (comment) => comment.replace(/[^\n]/g, " "))
    .replace(/^[ \t]*\/\/.*$/gm, "");
}

/** Every import, re-export and dynamic import with a literal specifier. */
export function importsOf(source: string): Import[] {
  const code = withoutComments(source);
  const found: Import[] = [];
  const add = (match: RegExpExecArray, specifier: string | undefined, typeOnly: boolean): void => {
    if (specifier === undefined) return;
    found.push({ specifier, typeOnly, line: code.slice(0, match.index).split("\n").length });
  };
  for (const match of code.matchAll(/^[ \t]*(?:import|export)\s+(type\s)?[^"';=]*?\bfrom\s*["']([^"']+)["']/gm)) {
    add(match, match[2], match[1] !== undefined);
  }
  for (const match of code.matchAll(/^[ \t]*import\s*["']([^"']+)["']/gm)) add(match, match[1], false);
  for (const match of code.matchAll(/\bimport\(\s*["'`]([^"'`]+)["'`]/g)) add(match, match[1], false);
  return found;
}

/** Everything a file imports that its layer must not. */
export function layerProblems(path: string, source: string): string[] {
  if (!/^(?:src|adapters)\/.*\.ts$/.test(path)) return [];
  const layer = layers.find((candidate) => covers(candidate.path, path));
  if (layer === undefined) return [`${path}: lies in no layer of test/support/tidy_layers.ts`];
  const problems: string[] = [];
  for (const imported of importsOf(source)) {
    const target = resolveSpecifier(path, imported.specifier);
    const fault = importFault(layer, path, target, imported.typeOnly);
    if (fault !== undefined) problems.push(`${path}:${imported.line}: ${layer.path} ${fault} ${target}`);
  }
  if (/\bimport\((?!\s*["'`])/.test(withoutComments(source))) {
    problems.push(`${path}: a dynamic import must name its module literally`);
  }
  return problems;
}

function importFault(layer: Layer, path: string, target: string, typeOnly: boolean): string | undefined {
  const owner = packageOwners[packageName(target)];
  if (owner !== undefined && !owner.test(path)) return "leaves to another file";
  if (layer.never?.some((closed) => covers(closed, target)) === true) return "must never import";
  if (covers(layer.path, target)) return undefined;
  if (layer.mayImport.some((open) => covers(open, target))) return undefined;
  if (layer.typesOnly?.some((open) => covers(open, target)) === true) {
    return typeOnly ? undefined : "may import only types of";
  }
  return "must not import";
}

function packageName(target: string): string {
  return target.split("/").slice(0, target.startsWith("@") ? 2 : 1).join("/");
}

/** Folders by prefix, single files exactly, a bare stem such as "src/kafka/route" by prefix, packages with sub-paths. */
function covers(entry: string, target: string): boolean {
  if (entry.endsWith(".ts")) return target === entry;
  if (entry.endsWith("/") || entry === "node:" || entry.startsWith("src/")) return target.startsWith(entry);
  return packageName(target) === entry;
}

function resolveSpecifier(from: string, specifier: string): string {
  if (!specifier.startsWith(".")) return specifier;
  const parts = from.split("/").slice(0, -1);
  for (const part of specifier.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== ".") parts.push(part);
  }
  return parts.join("/");
}
