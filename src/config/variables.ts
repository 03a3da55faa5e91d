/**
 * The environment variables: one schema, the only place that names them, with what each is for. Relations between
 * variables are in rules.ts, meaning in config.ts.
 */

import * as v from "valibot";
import {
  CONFIGURABLE_LIMITS,
  KAFKA_PARTITIONS,
  KAFKA_REPLICATION,
  LIMIT_NAMES,
  type LimitDefinition,
  type LimitName,
  LIMITS,
  LOG_GROUP_MS,
  LOG_MAX_BYTES,
  READY_LAG_SECONDS,
  SYS_INTERVAL_SECONDS,
  TRANSACTION_TIMEOUT_MS,
  UPLINK_LINGER_MS,
} from "../limits.ts";
import * as values from "./values.ts";

export const PREFIX = "TRIBUTARY_";

export type VariableGroup = "place" | "listeners" | "access" | "Kafka" | "log" | "events" | "limits";

/** What the documents and `check` say about a variable. */
export interface VariableDoc {
  readonly name: string;
  readonly group: VariableGroup;
  /** One or two sentences. */
  readonly about: string;
  readonly expected: string;
  /** As one would write it; undefined: not set. */
  readonly default: string | undefined;
  /** Its value is never shown. */
  readonly secret: boolean;
  /**
   * `text`: the value itself; `text-or-file`: also as `<name>_FILE`, a path whose content is the value; `file`: the value
   * is a path whose content counts (the name ends in `_FILE`).
   */
  readonly source: "text" | "text-or-file" | "file";
}

type Traits = Partial<Pick<VariableDoc, "secret" | "source">>;

/** A variable that may be absent. */
// deno-lint-ignore explicit-module-boundary-types -- private; its type is valibot's
function optional<T>(group: VariableGroup, reader: values.Reader<T>, about: string, traits: Traits = {}) {
  return v.pipe(
    v.optional(v.pipe(v.string(), through(reader))),
    v.metadata({ group, about, expected: reader.expected, ...traits }),
  );
}

/** A variable with a default, which is read like any other value. */
function setting<T>(group: VariableGroup, reader: values.Reader<T>, about: string, byDefault: string) {
  return v.pipe(
    v.optional(v.pipe(v.string(), through(reader)), byDefault),
    v.metadata({ group, about, expected: reader.expected, default: byDefault }),
  );
}

function through<T>(reader: values.Reader<T>) {
  return v.rawTransform<string, T>(({ dataset, addIssue, NEVER }) => {
    const value = reader.read(dataset.value);
    if (value !== undefined) return value;
    addIssue({ message: `expected ${reader.expected}` });
    return NEVER;
  });
}

function ranged(group: VariableGroup, definition: LimitDefinition) {
  return setting(group, values.wholeNumber(definition), definition.about, String(definition.default));
}

const ANY_TEXT = values.pattern(/\S/, "a value that is not empty");
const PATH = values.pattern(/^[^\0]+$/, "a path");
const SITE = values.pattern(/^[A-Za-z0-9._-]{1,64}$/, "1 to 64 of the characters A-Z a-z 0-9 . _ -");
const TOKEN = values.pattern(
  new RegExp(`^[\\x21-\\x7e]{${LIMITS.tokenCharactersMin},}$`),
  `at least ${LIMITS.tokenCharactersMin} printable ASCII characters without blanks`,
);
const SERVER_REFERENCE = values.pattern(
  new RegExp(`^[^\\p{Cc}]{1,${LIMITS.announcedCharactersMax}}$`, "u"),
  `at most ${LIMITS.announcedCharactersMax} characters`,
);
const MECHANISMS = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] as const;

const SETTINGS = {
  TRIBUTARY_SITE: optional(
    "place",
    SITE,
    "Name of this site. Required with Kafka; stored in the log when first given, another name later refuses to start.",
  ),
  TRIBUTARY_DATA_DIR: setting("place", PATH, "Directory of the log; created when missing.", "./tributary-data"),

  TRIBUTARY_LISTEN: setting(
    "listeners",
    values.list(values.MQTT_LISTENER),
    "Where MQTT clients connect. Off loopback somebody must be asked for: see TRIBUTARY_PASSWORD_FILE and TRIBUTARY_SCRAM_FILE. " +
      "The ports are 1883, 8883, for WebSocket 8083 and 8084, and its path is `/mqtt`, unless they are given. " +
      "A ws:// listener may have the port of TRIBUTARY_HTTP_LISTEN.",
    "mqtt://127.0.0.1:1883",
  ),
  TRIBUTARY_WS_ORIGINS: optional(
    "listeners",
    values.list(values.ORIGIN),
    "Origins of the web pages that may connect over WebSocket. Not set: on a loopback listener pages of this machine, " +
      "elsewhere all, for they need a user name and password too.",
  ),
  TRIBUTARY_TLS_CERT_FILE: optional(
    "listeners",
    values.pem("certificate"),
    "Certificate chain of mqtts:// and wss:// listeners.",
    {
      source: "file",
    },
  ),
  TRIBUTARY_TLS_KEY_FILE: optional("listeners", values.pem("private key"), "Its private key.", {
    source: "file",
  }),
  TRIBUTARY_HTTP_LISTEN: setting(
    "listeners",
    values.HTTP_LISTENER,
    "Where health, metrics and configuration are served; empty switches it off.",
    "http://127.0.0.1:8080",
  ),
  TRIBUTARY_HTTP_TOKEN: optional(
    "listeners",
    TOKEN,
    "Bearer token for /config, /metrics and /losses. Required when TRIBUTARY_HTTP_LISTEN is not loopback.",
    { source: "text-or-file", secret: true },
  ),
  TRIBUTARY_SERVER_REFERENCE: optional(
    "listeners",
    SERVER_REFERENCE,
    "Which server MQTT 5 clients are to use instead when this one stops, as they know it (`host` or `host:port`); " +
      "they are told with reason code 0x9D, server moved. Not set: only that it stops.",
  ),
  TRIBUTARY_RESPONSE_TOPIC_PREFIX: optional(
    "listeners",
    values.TOPIC_NAME_PREFIX,
    "Begins the Response Information of MQTT 5 clients that ask for it, such as `response/`; client identifier and slash " +
      "follow. Not set: they get none.",
  ),
  TRIBUTARY_READY_LAG_SECONDS: optional("listeners", values.wholeNumber(READY_LAG_SECONDS), READY_LAG_SECONDS.about),

  TRIBUTARY_PASSWORD_FILE: optional(
    "access",
    values.pattern(/^/, "the path of a password file"),
    "Users and passwords in Mosquitto's format (`$7$` and `$6$` lines), as `tributary password` writes them.",
    { source: "file" },
  ),
  TRIBUTARY_SCRAM_FILE: optional(
    "access",
    values.pattern(/^/, "the path of a file of users for SCRAM-SHA-256"),
    "Users of MQTT 5's enhanced authentication, as `tributary password --scram` writes them.",
    { source: "file" },
  ),
  TRIBUTARY_ALLOW_ANONYMOUS: optional(
    "access",
    values.BOOLEAN,
    "Whether clients without user name may connect. Not set: only while there is no file of users.",
  ),

  TRIBUTARY_KAFKA_BROKERS: optional(
    "Kafka",
    values.list(values.BROKER),
    "Kafka brokers to start from. Setting it switches edge mode on.",
  ),
  TRIBUTARY_KAFKA_TLS: setting("Kafka", values.BOOLEAN, "TLS to the brokers.", "false"),
  TRIBUTARY_KAFKA_TLS_CA_FILE: optional(
    "Kafka",
    values.pem("certificate"),
    "Authorities that may sign the brokers' certificates, instead of the system's.",
    { source: "file" },
  ),
  TRIBUTARY_KAFKA_TLS_CERT_FILE: optional(
    "Kafka",
    values.pem("certificate"),
    "Client certificate for the brokers.",
    { source: "file" },
  ),
  TRIBUTARY_KAFKA_TLS_KEY_FILE: optional("Kafka", values.pem("private key"), "Its private key.", {
    source: "file",
  }),
  TRIBUTARY_KAFKA_SASL_MECHANISM: optional(
    "Kafka",
    values.oneOf(MECHANISMS),
    "How to authenticate at the brokers.",
  ),
  TRIBUTARY_KAFKA_SASL_USERNAME: optional("Kafka", ANY_TEXT, "User name of PLAIN and SCRAM."),
  TRIBUTARY_KAFKA_SASL_PASSWORD: optional("Kafka", ANY_TEXT, "Password of PLAIN and SCRAM.", {
    source: "text-or-file",
    secret: true,
  }),
  TRIBUTARY_KAFKA_SASL_TOKEN: optional(
    "Kafka",
    ANY_TEXT,
    "Token of OAUTHBEARER; given as a file it is read again at every authentication, so that it can be renewed.",
    { source: "text-or-file", secret: true },
  ),
  TRIBUTARY_ROUTES: optional(
    "Kafka",
    ANY_TEXT,
    "Which topics go to and come from Kafka: one rule a line or separated by `;`. " +
      "Not set: everything goes up to mqtt-messages, and mqtt-to-{site} comes down.",
    { source: "text-or-file" },
  ),
  TRIBUTARY_ACK: setting(
    "Kafka",
    values.oneOf(["local", "kafka"] as const),
    "What a PUBACK or PUBREC means where a route does not say: durable on this machine's disk, or in Kafka.",
    "local",
  ),
  TRIBUTARY_UPLINK_LINGER_MS: ranged("Kafka", UPLINK_LINGER_MS),
  TRIBUTARY_KAFKA_TRANSACTION_TIMEOUT_MS: ranged("Kafka", TRANSACTION_TIMEOUT_MS),
  TRIBUTARY_KAFKA_CREATE_TOPICS: setting(
    "Kafka",
    values.BOOLEAN,
    "Whether missing Kafka topics are created; if not, the command that creates them is printed.",
    "true",
  ),
  TRIBUTARY_KAFKA_PARTITIONS: ranged("Kafka", KAFKA_PARTITIONS),
  TRIBUTARY_KAFKA_REPLICATION: setting(
    "Kafka",
    replication(),
    KAFKA_REPLICATION.about,
    String(KAFKA_REPLICATION.default),
  ),

  TRIBUTARY_LOG_MAX_BYTES: setting(
    "log",
    values.size(LOG_MAX_BYTES),
    LOG_MAX_BYTES.about,
    values.formatBytes(LOG_MAX_BYTES.default),
  ),
  TRIBUTARY_LOG_SYNC: setting(
    "log",
    values.oneOf(["full"] as const),
    "How a commit is made durable: `full` syncs the disk before every acknowledgement.",
    "full",
  ),
  TRIBUTARY_LOG_GROUP_MS: ranged("log", LOG_GROUP_MS),

  TRIBUTARY_EVENTS: setting(
    "events",
    values.oneOf(["debug", "info", "warn", "error"] as const),
    "Least severity of the events written to stderr.",
    "info",
  ),
  TRIBUTARY_EVENTS_FORMAT: optional(
    "events",
    values.oneOf(["text", "json"] as const),
    "Readable lines or one JSON object a line. Not set: text on a terminal, else json.",
  ),
  TRIBUTARY_SYS_INTERVAL_SECONDS: ranged("events", SYS_INTERVAL_SECONDS),
};

function replication(): values.Reader<number> {
  const number = values.wholeNumber(KAFKA_REPLICATION);
  return {
    expected: `-1 for the cluster's default, or a whole number from 1 to ${KAFKA_REPLICATION.max}`,
    read: (text) => (text === "0" ? undefined : number.read(text)),
  };
}

/** `receiveMaximum` → `TRIBUTARY_RECEIVE_MAXIMUM`. */
export function limitVariable(name: LimitName): string {
  return PREFIX + name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

function limitReader(name: LimitName): values.Reader<number> {
  const definition = CONFIGURABLE_LIMITS[name];
  return name.endsWith("Bytes") ? values.size(definition) : values.wholeNumber(definition);
}

function limitDefault(name: LimitName): string {
  const value = CONFIGURABLE_LIMITS[name].default;
  return name.endsWith("Bytes") ? values.formatBytes(value) : String(value);
}

const LIMIT_SETTINGS = Object.fromEntries(
  LIMIT_NAMES.map((
    name,
  ) => [limitVariable(name), optional("limits", limitReader(name), CONFIGURABLE_LIMITS[name].about)]),
);

const SCHEMA = v.object({ ...LIMIT_SETTINGS, ...SETTINGS });

/** The values of all variables; defaults are filled in, except for the limits, which may follow one another. */
export interface Variables {
  readonly TRIBUTARY_SITE?: string | undefined;
  readonly TRIBUTARY_DATA_DIR: string;
  readonly TRIBUTARY_LISTEN: readonly values.ListenerConfig[];
  readonly TRIBUTARY_WS_ORIGINS?: readonly string[] | undefined;
  readonly TRIBUTARY_TLS_CERT_FILE?: string | undefined;
  readonly TRIBUTARY_TLS_KEY_FILE?: string | undefined;
  readonly TRIBUTARY_HTTP_LISTEN: values.HostPort | "off";
  readonly TRIBUTARY_HTTP_TOKEN?: string | undefined;
  readonly TRIBUTARY_SERVER_REFERENCE?: string | undefined;
  readonly TRIBUTARY_RESPONSE_TOPIC_PREFIX?: string | undefined;
  readonly TRIBUTARY_READY_LAG_SECONDS?: number | undefined;
  readonly TRIBUTARY_PASSWORD_FILE?: string | undefined;
  readonly TRIBUTARY_SCRAM_FILE?: string | undefined;
  readonly TRIBUTARY_ALLOW_ANONYMOUS?: boolean | undefined;
  readonly TRIBUTARY_KAFKA_BROKERS?: readonly string[] | undefined;
  readonly TRIBUTARY_KAFKA_TLS: boolean;
  readonly TRIBUTARY_KAFKA_TLS_CA_FILE?: string | undefined;
  readonly TRIBUTARY_KAFKA_TLS_CERT_FILE?: string | undefined;
  readonly TRIBUTARY_KAFKA_TLS_KEY_FILE?: string | undefined;
  readonly TRIBUTARY_KAFKA_SASL_MECHANISM?: (typeof MECHANISMS)[number] | undefined;
  readonly TRIBUTARY_KAFKA_SASL_USERNAME?: string | undefined;
  readonly TRIBUTARY_KAFKA_SASL_PASSWORD?: string | undefined;
  readonly TRIBUTARY_KAFKA_SASL_TOKEN?: string | undefined;
  readonly TRIBUTARY_ROUTES?: string | undefined;
  readonly TRIBUTARY_ACK: "local" | "kafka";
  readonly TRIBUTARY_UPLINK_LINGER_MS: number;
  readonly TRIBUTARY_KAFKA_TRANSACTION_TIMEOUT_MS: number;
  readonly TRIBUTARY_KAFKA_CREATE_TOPICS: boolean;
  readonly TRIBUTARY_KAFKA_PARTITIONS: number;
  readonly TRIBUTARY_KAFKA_REPLICATION: number;
  readonly TRIBUTARY_LOG_MAX_BYTES: number;
  readonly TRIBUTARY_LOG_SYNC: "full";
  readonly TRIBUTARY_LOG_GROUP_MS: number;
  readonly TRIBUTARY_EVENTS: "debug" | "info" | "warn" | "error";
  readonly TRIBUTARY_EVENTS_FORMAT?: "text" | "json" | undefined;
  readonly TRIBUTARY_SYS_INTERVAL_SECONDS: number;
}

export type VariableName = keyof Variables;

/** Whether there is a file of users, so that who connects is asked who it is. */
export function asksSomebody(
  { TRIBUTARY_PASSWORD_FILE: passwords, TRIBUTARY_SCRAM_FILE: scram }: Variables,
): boolean {
  return passwords !== undefined || scram !== undefined;
}

/** All variables in the order of the documents. */
export const VARIABLES: readonly VariableDoc[] = documentation();

function documentation(): readonly VariableDoc[] {
  const entries = { ...SETTINGS, ...LIMIT_SETTINGS };
  const limitOf = new Map(LIMIT_NAMES.map((name) => [limitVariable(name), name]));
  return Object.entries(entries).map(([name, schema]) => {
    const doc = v.getMetadata(schema) as
      & Omit<VariableDoc, "name" | "secret" | "source" | "default">
      & // set above
      { readonly secret?: boolean; readonly source?: VariableDoc["source"]; readonly default?: string };
    const limit = limitOf.get(name);
    return {
      name,
      group: doc.group,
      about: doc.about,
      expected: doc.expected,
      default: limit === undefined ? doc.default : limitDefault(limit),
      secret: doc.secret ?? false,
      source: doc.source ?? "text",
    };
  });
}

/** What is wrong with one variable. */
export interface VariableIssue {
  readonly variable: string;
  readonly message: string;
}

export interface VariablesRead {
  /** Defaults stand in for what has an issue. */
  readonly values: Variables;
  readonly limits: Readonly<Partial<Record<LimitName, number>>>;
  readonly issues: readonly VariableIssue[];
}

/** Reads the texts of known variables (of `file` variables: the contents). Never throws. */
export function readVariables(texts: Readonly<Record<string, string>>): VariablesRead {
  const issues: VariableIssue[] = [];
  const sound = { ...texts };
  const first = v.safeParse(SCHEMA, sound);
  for (const issue of first.issues ?? []) {
    const variable = String(issue.path?.[0]?.key);
    issues.push({ variable, message: issue.message });
    delete sound[variable];
  }
  const output = v.parse(SCHEMA, sound); // what was wrong is gone, and every variable may be absent
  const all: Readonly<Record<string, unknown>> = output;
  const limits: Partial<Record<LimitName, number>> = {};
  for (const name of LIMIT_NAMES) {
    const value = all[limitVariable(name)];
    if (typeof value === "number") limits[name] = value;
  }
  return { values: output, limits, issues };
}
