/** A program whose `run` does what its first argument says: what the process adapter is tested with. */

import { createServer } from "node:net";
import process from "node:process";
import { runProcess } from "../../adapters/common/process.ts";
import type { ProcessEnvironment } from "../../src/ports.ts";

const behaviours: Readonly<Record<string, (environment: ProcessEnvironment) => number | Promise<number>>> = {
  exit: ({ argv }) => Number(argv[1]),
  async "until-stopped"({ stop, stdout }) {
    const stopped = new Promise((resolve) => stop.addEventListener("abort", resolve));
    stdout.write("ready\n");
    await stopped;
    stdout.write("stopped\n");
    return 0;
  },
  async "stubborn"({ stop, stdout }) {
    stop.addEventListener("abort", () => stdout.write("asked to stop\n"));
    stdout.write("ready\n");
    return await new Promise<number>(() => undefined);
  },
  async "timer-only"({ platform, stdout }) {
    await new Promise<void>((resolve) => platform.clock.after(300, resolve));
    stdout.write("held\n");
    return 0;
  },
  async "leftovers"() {
    await new Promise<void>((resolve) => createServer().listen(0, "127.0.0.1", resolve));
    setInterval(() => undefined, 1_000);
    return 0;
  },
  reject: () => Promise.reject(new Error("a bug in run")),
  async "stray-rejection"() {
    void Promise.reject(new Error("a stray bug"));
    return await new Promise<number>(() => undefined);
  },
  async "stray-exception"() {
    setTimeout(() => {
      throw new Error("a bug in a timer");
    });
    return await new Promise<number>(() => undefined);
  },
  "large-output"({ stdout, stderr }) {
    stdout.write(`${"o".repeat(1_000_000)}\n`);
    stderr.write(`${"e".repeat(1_000_000)}\n`);
    return 0;
  },
  async "output-nobody-reads"({ stop, stdout, stderr, platform }) {
    const stopped = new Promise((resolve) => stop.addEventListener("abort", resolve));
    stdout.write("ready\n");
    await stopped;
    for (let line = 0; line < 10; line++) {
      stderr.write("event\n");
      await new Promise<void>((resolve) => platform.clock.after(1, resolve));
    }
    stdout.write("still alive\n");
    return 0;
  },
  async secret({ readSecret, stdout }) {
    stdout.write(`secret=${await readSecret("Password: ")}\n`);
    return 0;
  },
  facts({ runtime, memoryBytes, connectionsAllowed, eventLoopLateMs, stderr, env, stdout }) {
    const blockedUntilMs = performance.now() + 50;
    while (performance.now() < blockedUntilMs);
    const facts = {
      runtime,
      memoryBytes: memoryBytes(),
      connectionsAllowed,
      lateMs: eventLoopLateMs(),
      isTerminal: stderr.isTerminal,
      given: env["GIVEN"],
    };
    stdout.write(`${JSON.stringify(facts)}\n`);
    return 0;
  },
};

void runProcess((environment) => {
  const behaviour = behaviours[environment.argv[0] ?? ""];
  if (behaviour === undefined) throw new Error(`No behaviour "${environment.argv[0]}" in ${process.argv[1]}`);
  return Promise.resolve(behaviour(environment));
}, { name: "Fixture 1.0" });
