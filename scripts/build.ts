// Builds dist/tributary, the gateway as one executable file. Run by Bun (`npm run build`), which puts itself into the
// file: no download. `npm run build -- linux-arm64` builds for another platform and fetches that platform's Bun once.

import { mkdirSync, rmSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

interface ResolveHook {
  onResolve(filter: { filter: RegExp }, resolve: () => { path: string }): void;
}

/** What of Bun this script uses; its own types are not installed. */
interface Bundler {
  build(options: {
    entrypoints: string[];
    target: "bun";
    minify: boolean;
    bytecode: boolean;
    splitting: boolean;
    format: "esm";
    compile: { outfile: string; target?: string; autoloadDotenv: boolean; autoloadBunfig: boolean };
    plugins: { name: string; setup(build: ResolveHook): void }[];
  }): Promise<{ success: boolean; logs: unknown[] }>;
}

const bun = (globalThis as { Bun?: Bundler }).Bun; // This script is run by Bun, or says so.
if (bun === undefined) {
  console.error(`Cannot build: this script needs Bun; use "npm run build"`);
  process.exit(1);
}

const root = fileURLToPath(new URL("../", import.meta.url));
const platform = process.argv[2];
const outfile = `${root}dist/tributary${platform === undefined ? "" : `-${platform}`}`;
mkdirSync(dirname(outfile), { recursive: true });
rmSync(outfile, { force: true });

// The Kafka client looks for its wasm file beside its own module, which a compiled binary does not have; the package
// also comes with the bytes inside a module.
const kafkaPackage = createRequire(createRequire(import.meta.url).resolve("@platformatic/kafka"));
const bundledWasm = kafkaPackage.resolve("@platformatic/wasm-utils/bundled");

const start = performance.now();
const result = await bun.build({
  // Beside the program, what runs in a thread of its own: it must not load the rest.
  entrypoints: [`${root}adapters/bun/main.ts`, `${root}adapters/common/sqlite_thread.ts`],
  target: "bun",
  minify: true,
  bytecode: true,
  // What is imported later, the Kafka client, is loaded later.
  splitting: true,
  // The default with bytecode is CommonJS, which would bake this machine's source paths in: the store's thread would only
  // start where the sources are.
  format: "esm",
  compile: {
    outfile,
    ...(platform === undefined ? {} : { target: `bun-${platform}` }),
    // Configuration comes from the environment alone, whatever lies in the directory it is started in.
    autoloadDotenv: false,
    autoloadBunfig: false,
  },
  plugins: [{
    name: "kafka client's wasm",
    setup(build): void {
      build.onResolve({ filter: /^@platformatic\/wasm-utils$/ }, () => ({ path: bundledWasm }));
    },
  }],
});
if (!result.success) {
  console.error("Cannot build the binary:", ...result.logs);
  process.exit(1);
}
const megabytes = (statSync(outfile).size / 1e6).toFixed(0);
console.log(`${outfile.slice(root.length)}: ${megabytes} MB in ${((performance.now() - start) / 1000).toFixed(1)} s`);
