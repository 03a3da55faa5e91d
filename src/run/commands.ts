/** The commands besides serving: check, route, password, help, version. Each prints its answer and returns its exit code. */
import { createAccess } from "../access/access.ts";
import { writePasswordLine } from "../access/password_file.ts";
import { saslPrep } from "../access/saslprep.ts";
import { SCRAM_SALT_BYTES } from "../access/scram.ts";
import { scramNameFault, writeScramLine } from "../access/scram_file.ts";
import { userNameFault } from "../access/user_file.ts";
import type { Command } from "../cli/command.ts";
import { HELP } from "../cli/command.ts";
import { EXIT } from "../cli/exit_codes.ts";
import { renderCheck, renderConfigErrors, renderRecord, renderRoutes } from "../cli/render.ts";
import type { Config } from "../config/config.ts";
import { parseConfig } from "../config/config.ts";
import { VERSION } from "../version.ts";
import { checkData } from "./check_data.ts";
import { checkKafka } from "./check_kafka.ts";
import type { RunEnvironment } from "./environment.ts";

/** Runs a command that is not serving. Resolves to the exit code. */
export async function runCommand(
  command: Exclude<Command, { kind: "serve" }>,
  environment: RunEnvironment,
): Promise<number> {
  const { stdout } = environment;
  switch (command.kind) {
    case "help":
      stdout.write(HELP);
      return EXIT.ok;
    case "version":
      stdout.write(`tributary ${VERSION} (${environment.runtime})\n`);
      return EXIT.ok;
    case "password":
      return await (command.scram ? scramPassword(command.user, environment) : password(command.user, environment));
    case "check-data":
      if (command.directory !== undefined) return await checkData(command.directory, environment);
      return await configured(environment, (config) => checkData(config.dataDirectory, environment));
    case "check":
    case "route":
    case "route-record":
      return await configured(environment, (config) => answer(command, config, environment));
  }
}

/** Runs with the configuration; says everything that is wrong with it instead. */
async function configured(
  environment: RunEnvironment,
  then: (config: Config) => Promise<number>,
): Promise<number> {
  const parsed = await parseConfig(environment.env, environment.readFile);
  if (!("errors" in parsed)) return await then(parsed.config);
  environment.stderr.write(renderConfigErrors(parsed.errors));
  return EXIT.config;
}

/** Bytes of salt, as Mosquitto writes them. */
const SALT_BYTES = 12;

async function password(user: string, environment: RunEnvironment): Promise<number> {
  const fault = userNameFault(user);
  if (fault !== undefined) return noLine("password file", `it ${fault}`, environment);
  const secret = new TextEncoder().encode(await environment.readSecret(`Password for ${user}: `));
  if (secret.byteLength === 0) return noLine("password file", "the password is empty", environment);
  const line = await writePasswordLine(user, secret, { salt: environment.platform.randomBytes(SALT_BYTES) });
  environment.stdout.write(`${line}\n`);
  return EXIT.ok;
}

async function scramPassword(user: string, environment: RunEnvironment): Promise<number> {
  const name = saslPrep(user) ?? user; // what a client's name becomes too
  const fault = scramNameFault(name);
  if (fault !== undefined) return noLine("SCRAM file", `it ${fault}`, environment);
  const secret = saslPrep(await environment.readSecret(`Password for ${user}: `));
  if (secret === undefined) {
    return noLine("SCRAM file", "the password has characters that SASLprep (RFC 4013) prohibits", environment);
  }
  if (secret === "") return noLine("SCRAM file", "the password is empty", environment);
  const line = await writeScramLine(name, secret, { salt: environment.platform.randomBytes(SCRAM_SALT_BYTES) });
  environment.stdout.write(`${line}\n`);
  return EXIT.ok;
}

function noLine(file: string, why: string, { stderr }: RunEnvironment): number {
  stderr.write(`Cannot write a line for the ${file}: ${why}\n`);
  return EXIT.usage;
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
