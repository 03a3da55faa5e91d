/**
 * From the environment to the effective configuration, or to everything that is wrong with it. Pure but for the
 * function that reads files; it must not start, print or decide anything.
 */

import type { AccessOptions } from "../access/access.ts";
import { parsePasswordFile } from "../access/password_file.ts";
import { parseScramFile } from "../access/scram_file.ts";
import { completeLimits, type Limits } from "../limits.ts";
import { type KafkaConfig, readKafka } from "./kafka_config.ts";
import { brokenRules } from "./rules.ts";
import { effectiveSettings, type Setting } from "./settings.ts";
import { collectTexts, type ReadFile, type Texts } from "./texts.ts";
import type { HostPort, ListenerConfig } from "./values.ts";
import { asksSomebody, readVariables, type VariableName, type Variables } from "./variables.ts";

export type { KafkaConfig } from "./kafka_config.ts";
export type { Setting } from "./settings.ts";
export type { ListenerConfig } from "./values.ts";

/** The effective configuration. Holds secrets: only `settings` may be shown. */
export interface Config {
  /** Required with Kafka, else optional; the log remembers it. */
  readonly site: string | undefined;
  readonly dataDirectory: string;
  readonly listeners: readonly ListenerConfig[];
  /** Origins of the pages that may connect over WebSocket; undefined: as `src/run/origins.ts` says. */
  readonly webSocketOrigins: readonly string[] | undefined;
  /** PEM texts; present exactly when a listener is `mqtts` or `wss`. */
  readonly tls: { readonly certificate: string; readonly key: string } | undefined;
  /** Undefined: switched off. */
  readonly http: (HostPort & { readonly token: string | undefined }) | undefined;
  /** What clients are told, besides the limits. */
  readonly announced: {
    readonly responseTopicPrefix: string | undefined;
    readonly serverReference: string | undefined;
  };
  readonly readyLagSeconds: number | undefined;
  readonly access: AccessOptions;
  /** Undefined: embedded mode. */
  readonly kafka: KafkaConfig | undefined;
  readonly log: { readonly maxBytes: number; readonly sync: "full"; readonly groupMs: number };
  readonly events: {
    readonly level: "debug" | "info" | "warn" | "error";
    /** Undefined: text on a terminal, else json. */
    readonly format: "text" | "json" | undefined;
  };
  /** How often subscribers of `$SYS` are told what has changed; 0: never. */
  readonly sysIntervalSeconds: number;
  readonly limits: Limits;
  /** Every variable with its effective value and where it comes from, secrets masked, in the order of the documents. */
  readonly settings: readonly Setting[];
}

/** One thing that is wrong. The value is masked where it may be a secret, undefined where there is none. */
export interface ConfigError {
  readonly variable: string;
  readonly value: string | undefined;
  /** What is expected, or what is wrong, as the end of a sentence. */
  readonly message: string;
}

export type ConfigResult = { readonly config: Config } | { readonly errors: readonly ConfigError[] };

/** How events are to be written, also when the rest of the configuration is wrong. Undefined: not set, or wrong. */
export function readEventsFormat(env: Readonly<Record<string, string | undefined>>): Config["events"]["format"] {
  const format = env["TRIBUTARY_EVENTS_FORMAT"];
  return format === "text" || format === "json" ? format : undefined;
}

/** Reads the whole environment. Never rejects, also when `readFile` does; all errors at once. */
export async function parseConfig(
  env: Readonly<Record<string, string | undefined>>,
  readFile: ReadFile,
): Promise<ConfigResult> {
  const texts = await collectTexts(env, readFile);
  const { values, limits: chosen, issues } = readVariables(texts.values);
  const errors: ConfigError[] = [
    ...texts.errors.map(({ variable, value, message }) => ({ variable, value, message })),
    ...issues.map(({ variable, message }) => error(texts, variable, message)),
  ];
  // A rule that looks at a variable which is itself wrong would only report the same mistake again.
  const wrong = new Set([
    ...texts.errors.flatMap(({ concerns }) => concerns),
    ...issues.map((issue) => issue.variable),
  ]);
  for (const { variable, message } of brokenRules({ values, chosen, wrong, isSet: (name) => name in texts.values })) {
    errors.push(error(texts, variable, message));
  }
  const users = readUsers(values, (variable, message) => errors.push(error(texts, variable, message)));
  const kafka = wrong.has("TRIBUTARY_SITE") || wrong.has("TRIBUTARY_ROUTES")
    ? undefined
    : readKafka(values, texts.files, (variable, message) => errors.push(error(texts, variable, message)));
  if (errors.length > 0) return { errors };
  const limits = completeLimits(chosen);
  const settings = effectiveSettings({ values, limits, texts });
  return { config: assemble(values, { users, kafka, limits, settings }) };
}

function assemble(
  values: Variables,
  parts: Pick<Config, "kafka" | "limits" | "settings"> & { readonly users: Users },
): Config {
  const [certificate, key] = [values.TRIBUTARY_TLS_CERT_FILE, values.TRIBUTARY_TLS_KEY_FILE];
  const http = values.TRIBUTARY_HTTP_LISTEN;
  return {
    site: values.TRIBUTARY_SITE,
    dataDirectory: values.TRIBUTARY_DATA_DIR,
    listeners: values.TRIBUTARY_LISTEN,
    webSocketOrigins: values.TRIBUTARY_WS_ORIGINS,
    tls: certificate === undefined || key === undefined ? undefined : { certificate, key },
    http: http === "off" ? undefined : { ...http, token: values.TRIBUTARY_HTTP_TOKEN },
    announced: {
      responseTopicPrefix: values.TRIBUTARY_RESPONSE_TOPIC_PREFIX,
      serverReference: values.TRIBUTARY_SERVER_REFERENCE,
    },
    readyLagSeconds: values.TRIBUTARY_READY_LAG_SECONDS,
    access: { allowAnonymous: values.TRIBUTARY_ALLOW_ANONYMOUS ?? !asksSomebody(values), ...parts.users },
    kafka: parts.kafka,
    log: {
      maxBytes: values.TRIBUTARY_LOG_MAX_BYTES,
      sync: values.TRIBUTARY_LOG_SYNC,
      groupMs: values.TRIBUTARY_LOG_GROUP_MS,
    },
    events: { level: values.TRIBUTARY_EVENTS, format: values.TRIBUTARY_EVENTS_FORMAT },
    sysIntervalSeconds: values.TRIBUTARY_SYS_INTERVAL_SECONDS,
    limits: parts.limits,
    settings: parts.settings,
  };
}

type Users = Pick<AccessOptions, "passwords" | "scramUsers">;

/** Reads both files of users. */
function readUsers(values: Variables, report: (variable: VariableName, message: string) => void): Users {
  const [passwords, scram] = [values.TRIBUTARY_PASSWORD_FILE, values.TRIBUTARY_SCRAM_FILE];
  const withPassword = passwords === undefined ? undefined : parsePasswordFile(passwords);
  const withScram = scram === undefined ? undefined : parseScramFile(scram);
  for (
    const [variable, parsed] of [
      ["TRIBUTARY_PASSWORD_FILE", withPassword],
      ["TRIBUTARY_SCRAM_FILE", withScram],
    ] as const
  ) {
    if (parsed === undefined || !("faults" in parsed)) continue;
    for (const { line, message } of parsed.faults) {
      report(variable, `${line === undefined ? "the file" : `line ${line}`} ${message}`);
    }
  }
  return {
    passwords: withPassword !== undefined && "passwords" in withPassword ? withPassword.passwords : undefined,
    scramUsers: withScram !== undefined && "users" in withScram ? withScram.users : undefined,
  };
}

function error(texts: Texts, variable: string, message: string): ConfigError {
  const shown = texts.shown(variable);
  return { variable: shown.variable, value: shown.value, message };
}
