// Finds the Python that has paho-mqtt: a machine may have several, and the system's package manager installs for the
// system's own only. It starts nothing that lasts.

import { spawnSync } from "node:child_process";

let found: { readonly program: string | undefined } | undefined;

/** The program to run paho-mqtt's scripts with, or undefined when no Python here has it. Looks once per process. */
export function pythonWithPaho(): string | undefined {
  found ??= { program: ["/usr/bin/python3", "python3"].find(hasPaho) };
  return found.program;
}

function hasPaho(program: string): boolean {
  return spawnSync(program, ["-c", "import paho.mqtt.client"], { stdio: "ignore", timeout: 20_000 }).status === 0;
}
