/**
 * Environments as nobody would write them: every variable, with values in and out of its range, files that are missing or of
 * another kind. The answer is a configuration, or errors that name variables; no secret is in either, and a gateway with the
 * limits that were accepted serves its clients.
 */
import assert from "node:assert/strict";
import { type Config, parseConfig } from "../../src/config/config.ts";
import { VARIABLES } from "../../src/config/variables.ts";
import { CONFIGURABLE_LIMITS, LIMIT_NAMES, limitConflicts } from "../../src/limits.ts";
import { Random } from "../simulation/random.ts";
import { TestGateway } from "../support/engine.ts";
import { publish, subscribe, texts } from "../support/packets.ts";
import { scramLine } from "../support/scram_client.ts";
import type { FuzzTarget, Trail } from "./target.ts";

const SECRET = "a-token-that-nobody-may-see";
const PEM = (kind: string): string => `-----BEGIN ${kind}-----\nAAAA\n-----END ${kind}-----\n`;
const FILES: Readonly<Record<string, string>> = {
  "cert.pem": PEM("CERTIFICATE"),
  "key.pem": PEM("PRIVATE KEY"),
  users: scramLine("alice", SECRET),
  token: `${SECRET}\n`,
  routes: "a/{b} -> plant key={b}\nc/# <- down\n",
  empty: "",
  garbage: "\0\uFFFD:::$$$\n\n=",
};
const VALUES = [
  ...["", " ", "0", "1", "-1", "2", "true", "false", "off", "kafka", "local", "full", "PLAIN", "SCRAM-SHA-256", "info"],
  ...["1KiB", "1MiB", "16MiB", "1GiB", "99999999999999999999", "NaN", "1e9", "0x10", "١"],
  ...[
    "mqtt://0.0.0.0:1883",
    "mqtts://h:0",
    "ws://h:1/x",
    "http://127.0.0.1:0",
    "x:1",
    "k1:9092, k2",
    "plant-1",
    "# -> y",
    "# <-> t",
  ],
  ...[SECRET, `${SECRET}\n`, "\0", "ü", "😀".repeat(50), "a,b,,c", "../x", "__proto__", "constructor"],
];

/** Fuzzes the configuration. */
export class ConfigTarget implements FuzzTarget {
  readonly name = "config";
  readonly unit = "environments";
  readonly #reached = { cases: 0, accepted: 0, served: 0 };

  async run(seed: number, trail: Trail): Promise<number> {
    const random = new Random(seed);
    const env = environmentOf(random);
    trail.clear();
    trail.add(JSON.stringify(env));
    const result = await parseConfig(env, readFile);
    const reached = this.#reached;
    reached.cases++;
    if ("errors" in result) {
      assert.ok(result.errors.length > 0);
      for (const { variable, message } of result.errors) {
        assert.match(variable, /^TRIBUTARY_/);
        assert.ok(message.length > 3, `what is wrong with ${variable} is said`);
      }
      assertNoSecret(result.errors, env);
      return 1;
    }
    reached.accepted++;
    const { limits, settings } = result.config;
    assertNoSecret(settings, env);
    assert.deepEqual(limitConflicts(limits), []);
    for (const name of LIMIT_NAMES) {
      const { min, max } = CONFIGURABLE_LIMITS[name];
      assert.ok(
        Number.isInteger(limits[name]) && limits[name] >= min && limits[name] <= max,
        `${name}: ${limits[name]}`,
      );
    }
    await this.#serve(result.config, seed);
    return 1;
  }

  check(): void {
    const { cases, accepted, served } = this.#reached;
    assert.ok(accepted > cases / 20 && accepted < cases && served > accepted / 4, JSON.stringify(this.#reached));
  }

  /** CVE-2026-42209 was a value that divides by zero. */
  async #serve({ limits, log }: Pick<Config, "limits" | "log">, seed: number): Promise<void> {
    const gateway = await TestGateway.start({ limits, logBytesMax: log.maxBytes, groupMs: log.groupMs, seed });
    const connection = await gateway.connect({ clientId: "c", protocolVersion: 5 });
    await gateway.advance(log.groupMs);
    connection.send(subscribe("a/b", 1));
    connection.send(publish("a/b", 1, 1, "x"));
    await gateway.advance(2 * log.groupMs + 2_000);
    const delivered = texts(connection.take("publish"));
    if (delivered.length > 0) {
      assert.deepEqual(delivered, ["a/b=x"]);
      this.#reached.served++;
    }
    assert.equal(gateway.fatal, undefined);
    const figures = Object.values(gateway.engine.gateway.figures());
    assert.ok(figures.every((figure) => Number.isFinite(figure)), JSON.stringify(figures));
    gateway.kill();
  }
}

function environmentOf(random: Random): Record<string, string> {
  const env: Record<string, string> = {};
  // Few at a time, or something is always wrong.
  for (let count = random.between(0, random.pick([1, 2, 3, 8])); count > 0; count--) {
    const { name, source } = random.pick(VARIABLES);
    const variable = source === "text-or-file" && random.chance(0.3) ? `${name}_FILE` : name;
    env[variable] = source === "file" || variable !== name
      ? random.pick([...Object.keys(FILES), "missing", "", "\0"])
      : valueOf(random, name);
  }
  if (random.chance(0.03)) env[`TRIBUTARY_${random.pick(["X", "LISTEM", "HTTP_TOKENS", "__proto__", ""])}`] = SECRET;
  return env;
}

function valueOf(random: Random, variable: string): string {
  const limit = LIMIT_NAMES.find((name) => variable === `TRIBUTARY_${name.replace(/[A-Z]/g, "_$&").toUpperCase()}`);
  if (limit === undefined || random.chance(0.1)) {
    const { default: byDefault } = VARIABLES.find(({ name }) => name === variable) ?? {};
    return random.chance(0.3) && byDefault !== undefined ? byDefault : random.pick(VALUES);
  }
  const { min, max, default: byDefault } = CONFIGURABLE_LIMITS[limit];
  return String(
    random.pick([min, min + 1, max, max - 1, byDefault, Math.floor((min + byDefault) / 2), min - 1, max + 1]),
  );
}

function readFile(path: string): string {
  const text = Object.hasOwn(FILES, path) ? FILES[path] : undefined;
  if (text === undefined) throw new Error(`ENOENT: no such file, open '${path}'`);
  return text;
}

/** What is shown of the secrets in the environment. A secret in a place where none belongs is no secret. */
function assertNoSecret(shown: unknown, env: Readonly<Record<string, string>>): void {
  const secrets = VARIABLES.filter(({ secret }) => secret).map(({ name }) => name);
  const open = Object.entries(env).filter(([name, value]) => !secrets.includes(name) && value.includes(SECRET));
  if (open.every(([name]) => !VARIABLES.some((variable) => variable.name === name))) {
    assert.ok(!JSON.stringify(shown).includes(SECRET), "a secret is shown");
  }
}
