/** The program: configuration, events, then serving; every way it can end has its exit code. */
import { parseConfig } from "./config/config.ts";
import { TributaryError } from "./errors.ts";
import type { RunEnvironment } from "./run/environment.ts";
import { serve } from "./run/serve.ts";
import { createEvents } from "./telemetry/events.ts";

export type { RunEnvironment } from "./run/environment.ts";

/** Runs the program to its end. Resolves to the exit code. */
export async function run(environment: RunEnvironment): Promise<number> {
  const { stderr } = environment;
  const parsed = await parseConfig(environment.env, environment.readFile);
  if ("errors" in parsed) {
    for (const { variable, value, message } of parsed.errors) stderr.write(`${variable}=${value ?? ""}: ${message}\n`);
    return 78;
  }
  const { config } = parsed;
  const events = createEvents({
    level: config.events.level,
    format: config.events.format ?? (stderr.isTerminal ? "text" : "json"),
    write: stderr.write,
    clock: environment.platform.clock,
  });
  try {
    await serve({ environment, config, events, version: "0.1.0" });
    return 0;
  } catch (error) {
    if (!(error instanceof TributaryError)) throw error;
    events.error("failed", error.message, { code: error.code });
    return 70;
  }
}
