/**
 * Gets Apache Kafka's jars from Maven Central into `.cache/kafka/<version>` (outside node_modules, which `npm ci` wipes)
 * and tells which outside tools are there. It must not start anything that lasts.
 */

import { execFile, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { TestContext } from "node:test";

const run = promisify(execFile);

/** What we test against. 4.3.0 and 4.3.1 are left out: they lose transaction markers (KAFKA-20734). */
export type KafkaVersion = "4.2.1" | "3.9.1";

const cacheDirectory = join(dirname(fileURLToPath(import.meta.url)), "..", "..", ".cache", "kafka");

export type Tool = "java" | "mvn" | "kcat" | "openssl" | "mosquitto_pub" | "mosquitto_sub" | "strace";

const versionArguments: Readonly<Record<Tool, readonly string[]>> = {
  java: ["-version"],
  mvn: ["--version"],
  kcat: ["-V"],
  openssl: ["version"],
  mosquitto_pub: ["--help"],
  mosquitto_sub: ["--help"],
  strace: ["-V"],
};

/** Tools that are not on the PATH. */
export function missingTools(tools: readonly Tool[]): readonly Tool[] {
  return tools.filter((tool) => spawnSync(tool, versionArguments[tool], { stdio: "ignore" }).error !== undefined);
}

/**
 * True when all tools are there. Else the test is skipped with their names, or fails under CI=true: a check that quietly
 * does nothing is worse than none.
 */
export function haveTools(t: Pick<TestContext, "skip">, tools: readonly Tool[]): boolean {
  const missing = missingTools(tools);
  if (missing.length === 0) return true;
  const text = `not installed: ${missing.join(", ")}`;
  if (process.env["CI"] === "true") throw new Error(`Cannot run this test: ${text}`);
  t.skip(text);
  return false;
}

function pom(version: KafkaVersion): string {
  const dependency = (group: string, name: string, of: string): string =>
    `<dependency><groupId>${group}</groupId><artifactId>${name}</artifactId><version>${of}</version></dependency>`;
  const dependencies = [
    dependency("org.apache.kafka", "kafka_2.13", version),
    dependency("org.apache.kafka", "kafka-tools", version),
  ];
  // Kafka 4 logs through log4j 2, which it does not bring; 3.9 brings reload4j.
  if (version.startsWith("4.")) dependencies.push(dependency("org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.4"));
  return `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>tributary.test</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>${dependencies.join("\n")}</dependencies></project>
`;
}

/** The class path of the version's jars, fetched first if need be. Safe to call from several processes at once. */
export async function kafkaClassPath(version: KafkaVersion): Promise<string> {
  const directory = join(cacheDirectory, version);
  if (!existsSync(directory)) await install(version, directory);
  return join(directory, "*");
}

async function install(version: KafkaVersion, directory: string): Promise<void> {
  console.error(`Waiting for Maven: Apache Kafka ${version} goes to ${directory} (about 55 MB, once) …`);
  await mkdir(cacheDirectory, { recursive: true });
  const temporary = await mkdtemp(join(cacheDirectory, ".tmp-"));
  try {
    await writeFile(join(temporary, "pom.xml"), pom(version));
    const goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", `-DoutputDirectory=${temporary}/jars`];
    const build = ["-q", "-B", "-f", join(temporary, "pom.xml"), ...goal];
    // A warm local repository needs no network and takes a tenth of the time.
    await run("mvn", ["-o", ...build]).catch(() => run("mvn", build, { timeout: 300_000 }));
    // Only complete directories get their name; whoever is second finds it taken and uses the first's.
    await rename(join(temporary, "jars"), directory).catch((error: unknown) => {
      if (!existsSync(directory)) throw error;
    });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}
