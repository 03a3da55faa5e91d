/** The commands besides serving: check, route, password, help, version. Each prints its answer and returns its exit code. */
import { createAccess } from "../access/access.ts";
import { userNameFault, writePasswordLine } from "../access/password_file.ts";
import type { Command } from "../cli/command.ts";
import { HELP } from "../cli/command.ts";
import { EXIT } from "../cli/exit_codes.ts";
import { renderCheck, renderConfigErrors, renderRecord, renderRoutes } from "../cli/render.ts";
import type { Config } from "../config/config.ts";
import { parseConfig } from "../config/config.ts";
import { VERSION } from "../version.ts";
import { checkKafka } from "./check_kafka.ts";
import type { RunEnvironment } from "./environment.ts";

/** Runs a command that is not serving. Resolves to the exit code. */
export async function runCommand(
  command: Exclude<Command, { kind: "serve" }>,
  environment: RunEnvironment,
): Promise<number> {
  const { stdout, stderr } = environment;
  switch (command.kind) {
    case "help":
      stdout.write(HELP);
      return EXIT.ok;
    case "version":
      stdout.write(`tributary ${VERSION} (${environment.runtime})\n`);
      return EXIT.ok;
    case "password":
      return password(command.user, environment);
    case "check":
    case "route":
    case "route-record": {
      const parsed = await parseConfig(environment.env, environment.readFile);
      if ("errors" in parsed) {
        stderr.write(renderConfigErrors(parsed.errors));
        return EXIT.config;
      }
      return await answer(command, parsed.config, environment);
    }
  }
}

/** Bytes of salt, as Mosquitto writes them. */
const SALT_BYTES = 12;

async function password(user: string, environment: RunEnvironment): Promise<number> {
  const fault = userNameFault(user);
  if (fault !== undefined) {
    environment.stderr.write(`Cannot write a line for the password file: it ${fault}\n`);
    return EXIT.usage;
  }
  const secret = new TextEncoder().encode(await environment.readSecret(`Password for ${user}: `));
  if (secret.byteLength === 0) {
    environment.stderr.write("Cannot write a line for the password file: the password is empty\n");
    return EXIT.usage;
  }
  const line = await writePasswordLine(user, secret, { salt: environment.platform.randomBytes(SALT_BYTES) });
  environment.stdout.write(`${line}\n`);
  return EXIT.ok;
}

async function answer(
  command: Extract<Command, { kind: "check" | "route" | "route-record" }>,
  config: Config,
  environment: RunEnvironment,
): Promise<number> {
  const { stdout } = environment;
  const routes = config.kafka?.routes;
  switch (command.kind) {
    case "check":
      stdout.write(renderCheck(config, { accessSummary: createAccess(config.access).summary }));
      return command.kafka ? await checkKafka(config.kafka, environment) : EXIT.ok;
    case "route": {
      const { text, ok } = renderRoutes(command.topicNames, routes);
      stdout.write(text);
      return ok ? EXIT.ok : EXIT.usage;
    }
    case "route-record": {
      const { text, ok } = renderRecord(command, routes);
      stdout.write(text);
      return ok ? EXIT.ok : EXIT.usage;
    }
  }
}
