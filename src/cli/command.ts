/** The command line as data: arguments in, command or misuse out. It must not read, print or decide anything else. */

/** What the program is asked to do. */
export type Command =
  | { readonly kind: "serve" }
  | { readonly kind: "check"; readonly kafka: boolean }
  /** Without a directory: the configured one. */
  | { readonly kind: "check-data"; readonly directory: string | undefined }
  | { readonly kind: "route"; readonly topicNames: readonly string[] }
  | { readonly kind: "route-record"; readonly kafkaTopic: string; readonly key: string }
  | { readonly kind: "password"; readonly user: string; readonly scram: boolean }
  | { readonly kind: "help" }
  | { readonly kind: "version" };

/** One sentence with a hint; exit code 64. */
export interface Misuse {
  readonly misuse: string;
}

export const HELP = `Tributary: an MQTT broker whose memory is a durable log, and whose log ends up in Apache Kafka.

Usage:
  tributary                                 run the gateway, configured by the environment
  tributary check [--kafka]                 validate the environment and print the effective configuration;
                                            with --kafka also ask Kafka about topics, settings and rights
  tributary check --data [DIR]              verify a data directory that no gateway is using, and change nothing in it
  tributary route TOPIC_NAME...             print where messages of these topic names go
  tributary route --record KAFKA_TOPIC KEY  print which topic name a record gets
  tributary password [--scram] USER         read a password and print a line for the password file,
                                            or with --scram for the file of users of SCRAM-SHA-256
  tributary --help | --version

All settings are environment variables that begin with TRIBUTARY_; docs/configuration.md lists them.

Exit codes: 0 stopped by a signal; 64 command line; 65 data damaged or of a newer format; 69 port in use or Kafka
unreachable; 70 internal error; 73 data directory not usable; 74 disk error; 75 data directory in use; 76 Kafka topic,
setting or right; 78 configuration.
`;

/** Reads the arguments after the program's name. */
export function parseCommand(argv: readonly string[]): Command | Misuse {
  const [first, ...rest] = argv;
  if (argv.some((argument) => argument === "--help" || argument === "-h")) return { kind: "help" };
  switch (first) {
    case undefined:
      return { kind: "serve" };
    case "help":
      return rest.length === 0 ? { kind: "help" } : misuse(`"help" takes nothing behind it`);
    case "--version":
    case "-V":
      return rest.length === 0 ? { kind: "version" } : misuse(`"${first}" takes nothing behind it`);
    case "check":
      return parseCheck(rest);
    case "route":
      return parseRoute(rest);
    case "password":
      return parsePassword(rest);
    default:
      return misuse(`there is no command ${JSON.stringify(first)}`);
  }
}

function parseCheck(rest: readonly string[]): Command | Misuse {
  const [first, directory, ...more] = rest;
  if (first === "--data") {
    if (more.length > 0 || directory?.startsWith("-")) return misuse(`"check --data" takes one directory`);
    return { kind: "check-data", directory };
  }
  const unknown = rest.find((argument) => argument !== "--kafka");
  if (unknown === undefined) return { kind: "check", kafka: rest.length > 0 };
  return misuse(`"check" does not take ${JSON.stringify(unknown)}, only --kafka or --data`);
}

function parseRoute(rest: readonly string[]): Command | Misuse {
  const [first, kafkaTopic, key, ...more] = rest;
  if (first === "--record") {
    if (kafkaTopic === undefined || key === undefined || more.length > 0) {
      return misuse(`"route --record" takes a Kafka topic and a key`);
    }
    return { kind: "route-record", kafkaTopic, key };
  }
  // "--" lets a topic name begin with a dash.
  const topicNames = first === "--" ? rest.slice(1) : rest;
  if (topicNames.length === 0) return misuse(`"route" takes at least one topic name`);
  const option = first === "--" ? undefined : topicNames.find((name) => name.startsWith("-"));
  if (option !== undefined) {
    return misuse(`"route" does not take ${JSON.stringify(option)}; behind "--" it is a topic name`);
  }
  return { kind: "route", topicNames };
}

function parsePassword(rest: readonly string[]): Command | Misuse {
  const scram = rest[0] === "--scram";
  const [user, ...more] = scram ? rest.slice(1) : rest;
  if (user === undefined || more.length > 0) {
    return misuse(`"password" takes one user name; the password itself is read from the terminal or standard input`);
  }
  if (user.startsWith("-")) {
    return misuse(`"password" does not take ${JSON.stringify(user)}, only --scram before the user`);
  }
  return { kind: "password", user, scram };
}

function misuse(sentence: string): Misuse {
  return { misuse: `Cannot understand the command line: ${sentence}; see tributary --help` };
}
