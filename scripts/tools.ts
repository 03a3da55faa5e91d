// The programs from outside npm that end-to-end tests use: which are missing, and the one command that installs them.
// Tests skip themselves when their tool is missing; with CI=true a missing tool is a failure.

import { spawnSync } from "node:child_process";
import { pythonWithPaho } from "../test/support/python.ts";

interface Tool {
  readonly name: string;
  /** The package of Debian and Ubuntu. */
  readonly aptPackage: string;
  readonly isThere: () => boolean;
}

/** Apache Kafka 4 needs it. */
const javaVersionMin = 17;

const tools: readonly Tool[] = [
  { name: `Java ${javaVersionMin}`, aptPackage: "openjdk-17-jre-headless", isThere: hasJava },
  { name: "Maven", aptPackage: "maven", isThere: () => starts("mvn", ["--version"]) },
  { name: "mosquitto", aptPackage: "mosquitto", isThere: () => starts("mosquitto", ["-h"]) },
  { name: "mosquitto_pub", aptPackage: "mosquitto-clients", isThere: () => starts("mosquitto_pub", ["--help"]) },
  { name: "mosquitto_sub", aptPackage: "mosquitto-clients", isThere: () => starts("mosquitto_sub", ["--help"]) },
  { name: "kcat", aptPackage: "kcat", isThere: () => starts("kcat", ["-V"]) },
  { name: "paho-mqtt for Python", aptPackage: "python3-paho-mqtt", isThere: () => pythonWithPaho() !== undefined },
  { name: "strace", aptPackage: "strace", isThere: () => starts("strace", ["-V"]) },
  { name: "openssl", aptPackage: "openssl", isThere: () => starts("openssl", ["version"]) },
];

export interface MissingTools {
  readonly names: readonly string[];
  readonly installCommand: string;
}

/** What is missing, or undefined when all is there. */
export function findMissingTools(): MissingTools | undefined {
  const missing = tools.filter((tool) => !tool.isThere());
  if (missing.length === 0) return undefined;
  const packages = new Set(missing.map((tool) => tool.aptPackage));
  return {
    names: missing.map((tool) => tool.name),
    installCommand: `apt-get install -y ${[...packages].join(" ")}`,
  };
}

function starts(program: string, parameters: readonly string[]): boolean {
  return spawnSync(program, parameters, { stdio: "ignore", timeout: 20_000 }).error === undefined;
}

function hasJava(): boolean {
  const { stderr, error } = spawnSync("java", ["-version"], { encoding: "utf8", timeout: 20_000 });
  const version = error === undefined ? /version "(\d+)/.exec(stderr)?.[1] : undefined;
  return version !== undefined && Number(version) >= javaVersionMin;
}
