/**
 * Readers of single values: text → value, or `undefined` where the text is not what is expected. Pure; they know no
 * variable and no file.
 */

import { type LimitDefinition, LIMITS } from "../limits.ts";
import { topicNameError } from "../mqtt/topics.ts";

/** Reads one text and says in words what it takes: the words go behind "expected". */
export interface Reader<T> {
  readonly expected: string;
  read(text: string): T | undefined;
}

/** Where the gateway listens for MQTT. */
export interface ListenerConfig {
  readonly protocol: "mqtt" | "mqtts" | "ws" | "wss";
  /** Without the brackets of an IPv6 address. */
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** Of WebSocket connections, and only there. Begins with a slash. */
  readonly path?: string;
}

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

export function pattern(expression: RegExp, expected: string): Reader<string> {
  return { expected, read: (text) => (expression.test(text) ? text : undefined) };
}

export function oneOf<const T extends string>(values: readonly T[]): Reader<T> {
  const expected = values.length <= 2 ? values.join(" or ") : `one of ${values.join(", ")}`;
  return { expected, read: (text) => values.find((value) => value === text) };
}

export const BOOLEAN: Reader<boolean> = {
  expected: "true or false",
  read: (text) => (text === "true" ? true : text === "false" ? false : undefined),
};

/** A whole number within a range. */
export function wholeNumber({ min, max }: Pick<LimitDefinition, "min" | "max">): Reader<number> {
  return {
    expected: `a whole number from ${min} to ${max}`,
    read(text) {
      if (!/^-?\d{1,15}$/.test(text)) return undefined;
      const value = Number(text);
      return min <= value && value <= max ? value : undefined;
    },
  };
}

const UNIT_BYTES: Readonly<Record<string, number>> = {
  "": 1,
  B: 1,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};

/** Bytes, plain or with a unit: `1073741824`, `1GiB`, `500 MB`. */
export function size({ min, max }: Pick<LimitDefinition, "min" | "max">): Reader<number> {
  return {
    expected: `a size from ${formatBytes(min)} to ${formatBytes(max)}, in bytes or with a unit such as 500MB or 1GiB`,
    read(text) {
      const match = /^(\d{1,15}) ?([kKMGT]i?B|B|)$/.exec(text);
      const unit = UNIT_BYTES[match?.[2] ?? "none"];
      if (match === null || unit === undefined) return undefined;
      const value = Number(match[1]) * unit;
      return min <= value && value <= max ? value : undefined;
    },
  };
}

/** Bytes as a person writes them: the largest unit that divides them, else plain. */
export function formatBytes(bytes: number): string {
  for (const unit of ["TiB", "GiB", "MiB", "KiB"] as const) {
    const unitBytes = UNIT_BYTES[unit] ?? 1;
    if (bytes > 0 && bytes % unitBytes === 0) return `${bytes / unitBytes}${unit}`;
  }
  return String(bytes);
}

/** Comma-separated; blanks around the parts do not count, an empty part is an error. */
export function list<T>(reader: Reader<T>): Reader<readonly T[]> {
  return {
    expected: `${reader.expected}; several are separated by commas`,
    read(text) {
      const values: T[] = [];
      for (const part of text.split(",")) {
        const value = reader.read(part.trim());
        if (value === undefined) return undefined;
        values.push(value);
      }
      return values;
    },
  };
}

const HOST_PORT = /^(?:\[([0-9a-fA-F:.]{2,45})\]|([A-Za-z0-9._-]{1,253}))(?::(\d{1,5}))?$/;

/** Reads `host:port`, `host` or `[v6]:port`. A port above 65,535 or below `portMin` is none. */
export function readHostPort(
  text: string,
  { defaultPort, portMin }: { readonly defaultPort: number; readonly portMin: number },
): HostPort | undefined {
  const match = HOST_PORT.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3] ?? defaultPort);
  return host !== undefined && portMin <= port && port <= 65_535 ? { host, port } : undefined;
}

export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** 8083 and 8084 are what other brokers use. */
const DEFAULT_PORTS = { mqtt: 1883, mqtts: 8883, ws: 8083, wss: 8084 } as const;

/** Where clients look for MQTT on a WebSocket server. */
const DEFAULT_PATH = "/mqtt";

/** RFC 3986 §3.3, without the comma, which separates listeners. */
const URL_PATH = /^\/[A-Za-z0-9._~!$&'()*+;=:@%/-]*$/;

export const MQTT_LISTENER: Reader<ListenerConfig> = {
  expected: "mqtt://host:port, mqtts://host:port, ws://host:port/path or wss://host:port/path",
  read(text) {
    const match = /^(mqtts?|wss?):\/\/([^/]+)(\/.*)?$/.exec(text);
    if (match === null) return undefined;
    const protocol = match[1] as ListenerConfig["protocol"]; // exactly what the pattern takes
    const address = readHostPort(match[2] ?? "", { defaultPort: DEFAULT_PORTS[protocol], portMin: 0 });
    if (address === undefined) return undefined;
    const path = match[3];
    if (protocol === "mqtt" || protocol === "mqtts") {
      return path === undefined || path === "/" ? { protocol, ...address } : undefined;
    }
    return path === undefined || URL_PATH.test(path) ? { protocol, ...address, path: path ?? DEFAULT_PATH } : undefined;
  },
};

/** A listener as it is written; with the port that the system chose, where that is known. */
export function formatListener(listener: ListenerConfig, port: number = listener.port): string {
  const { protocol, host, path = "" } = listener;
  return `${protocol}://${formatHostPort({ host, port })}${path}`;
}

export function isEncrypted({ protocol }: ListenerConfig): boolean {
  return protocol === "mqtts" || protocol === "wss";
}

/** Whether two listeners want the same port: as it is written, because nobody knows here what a name stands for. */
export function isSamePlace(one: HostPort, other: HostPort): boolean {
  return one.port !== 0 && formatHostPort(one) === formatHostPort(other);
}

/** An origin as browsers send it, or all of them. */
export const ORIGIN: Reader<string> = {
  expected: "an origin such as https://dashboard.example, or * for any",
  read(text) {
    const origin = text.toLowerCase();
    return origin === "*" || /^[a-z][a-z0-9+.-]*:\/\/(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?$/.test(origin)
      ? origin
      : undefined;
  },
};

export const TOPIC_NAME_PREFIX: Reader<string> = {
  expected: `the beginning of a topic name, at most ${LIMITS.announcedCharactersMax} characters, no wildcards, no $`,
  read: (text) =>
    topicNameError(text) === undefined && !text.startsWith("$") && text.length <= LIMITS.announcedCharactersMax
      ? text
      : undefined,
};

/** `"off"` is the empty text. */
export const HTTP_LISTENER: Reader<HostPort | "off"> = {
  expected: "http://host:port, or nothing to switch it off",
  read(text) {
    if (text === "") return "off";
    const match = /^http:\/\/([^/]+)\/?$/.exec(text);
    return match === null ? undefined : readHostPort(match[1] ?? "", { defaultPort: 8080, portMin: 0 });
  },
};

/** `host:port` as the Kafka client takes it. */
export const BROKER: Reader<string> = {
  expected: "host:port",
  read(text) {
    const address = readHostPort(text, { defaultPort: 9092, portMin: 1 });
    return address === undefined ? undefined : formatHostPort(address);
  },
};

export function pem(kind: "certificate" | "private key"): Reader<string> {
  const begin = kind === "certificate"
    ? /^-----BEGIN CERTIFICATE-----$/m
    : /^-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----$/m;
  return {
    expected: `the path of a PEM file with a ${kind}`,
    read: (text) => (begin.test(text.replaceAll("\r\n", "\n")) ? text : undefined),
  };
}

/**
 * Whether only this machine can reach an address: `localhost`, 127.0.0.0/8 spelled out, `::1`. Anything odd counts as
 * reachable from outside, because that is the side on which more is asked for.
 */
export function isLoopback(host: string): boolean {
  const lower = host.toLowerCase();
  if (lower === "localhost" || lower === "::1" || lower === "0:0:0:0:0:0:0:1") return true;
  return /^(?:::ffff:)?127(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}$/.test(lower);
}
