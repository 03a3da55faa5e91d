/**
 * Relations between variables, the safety rules among them: what must be set together, and what would open the gateway
 * to strangers. Each rule is skipped when a variable it looks at is itself wrong.
 */

import { type ChosenLimits, headRoom, limitConflicts } from "../limits.ts";
import { formatHostPort, formatListener, isEncrypted, isLoopback, isSamePlace } from "./values.ts";
import { asksSomebody, limitVariable, type VariableName, VARIABLES, type Variables } from "./variables.ts";

export interface RuleInput {
  readonly values: Variables;
  readonly chosen: ChosenLimits;
  /** Variables with an error of their own. */
  readonly wrong: ReadonlySet<string>;
  /** Whether the environment sets it, directly or as a file. */
  readonly isSet: (name: string) => boolean;
}

interface Broken {
  readonly variable: string;
  readonly message: string;
}

/** A rule that is broken, undefined when it holds. `looksAt` are the variables it judges. */
interface Rule {
  readonly looksAt: readonly VariableName[];
  readonly check: (input: RuleInput) => Broken | undefined;
}

/** `variable` is set and needs `other`, which is not. */
function needs(variable: VariableName, other: VariableName): Rule {
  return {
    looksAt: [variable, other],
    check: ({ isSet }) =>
      isSet(variable) && !isSet(other) ? { variable, message: `needs ${other}, which is not set` } : undefined,
  };
}

const LISTENER_RULES: readonly Rule[] = [
  {
    // No authentication and reachable from outside: the door would be open to anyone.
    looksAt: ["TRIBUTARY_LISTEN", "TRIBUTARY_PASSWORD_FILE", "TRIBUTARY_SCRAM_FILE", "TRIBUTARY_ALLOW_ANONYMOUS"],
    check({ values }) {
      if (asksSomebody(values) || values.TRIBUTARY_ALLOW_ANONYMOUS !== undefined) return undefined;
      const open = values.TRIBUTARY_LISTEN.find(({ host }) => !isLoopback(host));
      if (open === undefined) return undefined;
      const message = `${formatListener(open)} can be reached from other machines, but nothing says ` +
        "who may connect: set TRIBUTARY_PASSWORD_FILE or TRIBUTARY_SCRAM_FILE, or TRIBUTARY_ALLOW_ANONYMOUS=true " +
        "to let anyone in";
      return { variable: "TRIBUTARY_LISTEN", message };
    },
  },
  {
    looksAt: ["TRIBUTARY_PASSWORD_FILE", "TRIBUTARY_SCRAM_FILE", "TRIBUTARY_ALLOW_ANONYMOUS"],
    check: ({ values }) =>
      values.TRIBUTARY_ALLOW_ANONYMOUS === false && !asksSomebody(values)
        ? {
          variable: "TRIBUTARY_ALLOW_ANONYMOUS",
          message: "without TRIBUTARY_PASSWORD_FILE or TRIBUTARY_SCRAM_FILE nobody could connect",
        }
        : undefined,
  },
  {
    looksAt: ["TRIBUTARY_LISTEN"],
    check({ values }) {
      const texts = values.TRIBUTARY_LISTEN.filter(({ port }) => port !== 0).map(formatHostPort);
      const twice = texts.find((text, index) => texts.indexOf(text) !== index);
      return twice === undefined ? undefined : { variable: "TRIBUTARY_LISTEN", message: `names ${twice} twice` };
    },
  },
  {
    looksAt: ["TRIBUTARY_LISTEN", "TRIBUTARY_TLS_CERT_FILE", "TRIBUTARY_TLS_KEY_FILE"],
    check({ values, isSet }) {
      const encrypted = values.TRIBUTARY_LISTEN.find(isEncrypted);
      if (encrypted === undefined) return undefined;
      if (isSet("TRIBUTARY_TLS_CERT_FILE") || isSet("TRIBUTARY_TLS_KEY_FILE")) return undefined;
      const message = `${encrypted.protocol}:// needs TRIBUTARY_TLS_CERT_FILE and TRIBUTARY_TLS_KEY_FILE`;
      return { variable: "TRIBUTARY_LISTEN", message };
    },
  },
  needs("TRIBUTARY_TLS_CERT_FILE", "TRIBUTARY_TLS_KEY_FILE"),
  needs("TRIBUTARY_TLS_KEY_FILE", "TRIBUTARY_TLS_CERT_FILE"),
  {
    // Whoever gives a certificate believes that the connections are encrypted.
    looksAt: ["TRIBUTARY_LISTEN", "TRIBUTARY_TLS_CERT_FILE"],
    check: ({ values, isSet }) =>
      isSet("TRIBUTARY_TLS_CERT_FILE") && !values.TRIBUTARY_LISTEN.some(isEncrypted)
        ? {
          variable: "TRIBUTARY_TLS_CERT_FILE",
          message: "no listener uses it: TRIBUTARY_LISTEN names no mqtts:// or wss://",
        }
        : undefined,
  },
  {
    // Whoever names the pages that may connect believes that others cannot.
    looksAt: ["TRIBUTARY_LISTEN", "TRIBUTARY_WS_ORIGINS"],
    check: ({ values, isSet }) =>
      isSet("TRIBUTARY_WS_ORIGINS") && !values.TRIBUTARY_LISTEN.some(({ path }) => path !== undefined)
        ? {
          variable: "TRIBUTARY_WS_ORIGINS",
          message: "no listener uses it: TRIBUTARY_LISTEN names no ws:// or wss://",
        }
        : undefined,
  },
  {
    looksAt: ["TRIBUTARY_LISTEN", "TRIBUTARY_HTTP_LISTEN"],
    check({ values }) {
      const http = values.TRIBUTARY_HTTP_LISTEN;
      if (http === "off") return undefined;
      const other = values.TRIBUTARY_LISTEN.find((listener) =>
        listener.protocol !== "ws" && isSamePlace(listener, http)
      );
      if (other === undefined) return undefined;
      const message = `${formatHostPort(http)} is the port of ${formatListener(other)} too; only ws:// can share it`;
      return { variable: "TRIBUTARY_HTTP_LISTEN", message };
    },
  },
  {
    looksAt: ["TRIBUTARY_HTTP_LISTEN", "TRIBUTARY_HTTP_TOKEN"],
    check({ values }) {
      const http = values.TRIBUTARY_HTTP_LISTEN;
      if (http === "off" || isLoopback(http.host) || values.TRIBUTARY_HTTP_TOKEN !== undefined) return undefined;
      const message = `http://${formatHostPort(http)} can be reached from other machines: set TRIBUTARY_HTTP_TOKEN`;
      return { variable: "TRIBUTARY_HTTP_LISTEN", message };
    },
  },
];

/** A message that is larger than the head-room could fill the disk beyond the budget, and so stop the gateway. */
function packetBeyondLog({ chosen, values, wrong }: RuleInput): Broken | undefined {
  const roomBytes = headRoom(values.TRIBUTARY_LOG_MAX_BYTES);
  const packetBytes = chosen.maximumPacketBytes ?? 0;
  if (wrong.has("TRIBUTARY_LOG_MAX_BYTES") || packetBytes <= roomBytes) return undefined;
  const message = `expected at most ${roomBytes}, the head-room of a log of TRIBUTARY_LOG_MAX_BYTES: a sixteenth of it`;
  return { variable: limitVariable("maximumPacketBytes"), message };
}

const KAFKA_RULES: readonly Rule[] = [
  {
    looksAt: ["TRIBUTARY_SITE", "TRIBUTARY_KAFKA_BROKERS"],
    check: ({ isSet }) =>
      isSet("TRIBUTARY_KAFKA_BROKERS") && !isSet("TRIBUTARY_SITE")
        ? {
          variable: "TRIBUTARY_SITE",
          message: "is required with Kafka: two gateways under one name would shut each other out; " +
            "expected 1 to 64 of the characters A-Z a-z 0-9 . _ -",
        }
        : undefined,
  },
  needs("TRIBUTARY_KAFKA_TLS_CERT_FILE", "TRIBUTARY_KAFKA_TLS_KEY_FILE"),
  needs("TRIBUTARY_KAFKA_TLS_KEY_FILE", "TRIBUTARY_KAFKA_TLS_CERT_FILE"),
  ...(["TRIBUTARY_KAFKA_TLS_CA_FILE", "TRIBUTARY_KAFKA_TLS_CERT_FILE"] as const).map((variable): Rule => ({
    looksAt: [variable, "TRIBUTARY_KAFKA_TLS"],
    check: ({ values, isSet }) =>
      isSet(variable) && !values.TRIBUTARY_KAFKA_TLS
        ? { variable, message: "is not used: TRIBUTARY_KAFKA_TLS is not true" }
        : undefined,
  })),
  ...(["USERNAME", "PASSWORD", "TOKEN"] as const).map((part): Rule => {
    const variable = `TRIBUTARY_KAFKA_SASL_${part}` as const;
    return {
      looksAt: [variable, "TRIBUTARY_KAFKA_SASL_MECHANISM"],
      check({ values, isSet }) {
        const mechanism = values.TRIBUTARY_KAFKA_SASL_MECHANISM;
        const used = mechanism !== undefined && (mechanism === "OAUTHBEARER") === (part === "TOKEN");
        if (used && !isSet(variable)) return { variable, message: `is required by ${mechanism}` };
        if (used || !isSet(variable)) return undefined;
        const why = mechanism === undefined ? "TRIBUTARY_KAFKA_SASL_MECHANISM is not set" : `${mechanism} needs none`;
        return { variable, message: `is not used: ${why}` };
      },
    };
  }),
  {
    looksAt: ["TRIBUTARY_ACK", "TRIBUTARY_KAFKA_BROKERS"],
    check: ({ values, isSet }) =>
      values.TRIBUTARY_ACK === "kafka" && !isSet("TRIBUTARY_KAFKA_BROKERS")
        ? { variable: "TRIBUTARY_ACK", message: "kafka needs TRIBUTARY_KAFKA_BROKERS, which is not set" }
        : undefined,
  },
  // Whoever sets these expects Kafka; a misplaced list of brokers must not leave the messages on this machine.
  ...VARIABLES.map(({ name }) => name as VariableName) // all groups but the limits have exactly these names
    .filter((name) => name.startsWith("TRIBUTARY_KAFKA_") || name === "TRIBUTARY_ROUTES")
    .filter((name) => name !== "TRIBUTARY_KAFKA_BROKERS")
    .map((name) => needs(name, "TRIBUTARY_KAFKA_BROKERS")),
];

export function brokenRules(input: RuleInput): readonly Broken[] {
  const broken: Broken[] = [];
  for (const { looksAt, check } of [...LISTENER_RULES, ...KAFKA_RULES]) {
    const found = looksAt.some((name) => input.wrong.has(name)) ? undefined : check(input);
    if (found !== undefined) broken.push(found);
  }
  const tooLarge = packetBeyondLog(input);
  if (tooLarge !== undefined) broken.push(tooLarge);
  for (const { name, atMost } of limitConflicts(input.chosen)) {
    const message = `expected at most ${limitVariable(atMost)}, which is ${input.chosen[atMost]}`;
    broken.push({ variable: limitVariable(name), message });
  }
  return broken;
}
