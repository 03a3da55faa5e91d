/** The program: command line, configuration, events, then serving; every way it can end has its exit code. */
import { parseCommand } from "./cli/command.ts";
import { EXIT, exitCodeOf } from "./cli/exit_codes.ts";
import { renderConfigError, renderConfigErrors } from "./cli/render.ts";
import { type ConfigError, parseConfig, readEventsFormat } from "./config/config.ts";
import { TributaryError } from "./errors.ts";
import { runCommand } from "./run/commands.ts";
import type { RunEnvironment } from "./run/environment.ts";
import { serve } from "./run/serve.ts";
import { createEvents } from "./telemetry/events.ts";

export type { RunEnvironment } from "./run/environment.ts";

/** Runs the program to its end. Resolves to the exit code; rejects only for a bug. */
export async function run(environment: RunEnvironment): Promise<number> {
  const { stderr } = environment;
  const command = parseCommand(environment.argv);
  if ("misuse" in command) {
    stderr.write(`${command.misuse}\n`);
    return EXIT.usage;
  }
  if (command.kind !== "serve") return runCommand(command, environment);
  const parsed = await parseConfig(environment.env, environment.readFile);
  if ("errors" in parsed) {
    tellConfigErrors(parsed.errors, environment);
    return EXIT.config;
  }
  const { config } = parsed;
  const events = createEvents({
    level: config.events.level,
    format: config.events.format ?? (stderr.isTerminal ? "text" : "json"),
    write: stderr.write,
    clock: environment.platform.clock,
  });
  try {
    await serve({ environment, config, events });
    return EXIT.ok;
  } catch (error) {
    if (!(error instanceof TributaryError)) throw error;
    events.error("failed", error.message, { code: error.code });
    return exitCodeOf(error);
  }
}

/** On a terminal a list to read; elsewhere one event for each, because whoever collects lines expects JSON. */
function tellConfigErrors(errors: readonly ConfigError[], { env, stderr, platform }: RunEnvironment): void {
  const format = readEventsFormat(env) ?? (stderr.isTerminal ? "text" : "json");
  if (format === "text") {
    stderr.write(renderConfigErrors(errors));
    return;
  }
  const events = createEvents({ level: "error", format, write: stderr.write, clock: platform.clock });
  for (const error of errors) {
    const text = `Cannot use the configuration: ${renderConfigError(error)}`;
    events.error("failed", text, { code: "config", variable: error.variable });
  }
}
