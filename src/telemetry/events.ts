/**
 * Events: what the gateway tells its operator, one line each, through LogTape. Where the lines go is the adapter's
 * business; stdout is never meant. Payloads and secrets are never in them.
 */

import {
  configureSync,
  getJsonLinesFormatter,
  getLogger,
  getTextFormatter,
  getThrottlingFilter,
  type LogLevel,
  type LogRecord,
} from "@logtape/logtape";
import { LIMITS } from "../limits.ts";
import { printable } from "./printable.ts";

export type EventLevel = "debug" | "info" | "warn" | "error";

/** Values that go with an event. Undefined ones are left out; the names of the line's own parts are taken. */
export type EventFields =
  & Readonly<Record<string, string | number | boolean | undefined>>
  & { readonly [Taken in "event" | "level" | "message" | "logger" | "@timestamp"]?: never };

/**
 * Writes events. `name` is stable and made of words with dots (`listener.open`): what machines filter by. `text` is a
 * sentence for a person and may hold anything; it is made printable here.
 */
export interface Events {
  debug(name: string, text: string, fields?: EventFields): void;
  info(name: string, text: string, fields?: EventFields): void;
  warn(name: string, text: string, fields?: EventFields): void;
  error(name: string, text: string, fields?: EventFields): void;
  /** Whether such an event would be written: asked before costly fields are made. */
  enabled(level: EventLevel): boolean;
}

export interface EventsOptions {
  /** Least severity that is written. */
  readonly level: EventLevel;
  readonly format: "text" | "json";
  /** Takes one line with its line end. Must not throw. */
  readonly write: (line: string) => void;
  /** Monotonic and wall clock, as in the Clock port. */
  readonly clock: { nowMs(): number; wallMs(): number };
}

const CATEGORY = ["tributary"];
const SUPPRESSED = "events.suppressed";
const SEVERITY: Readonly<Record<EventLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

/**
 * The events of this process. LogTape's configuration is the process's own, so a second call takes the place of the
 * first; several gateways in one process (tests, simulation) implement `Events` themselves.
 */
export function createEvents({ level, format, write, clock }: EventsOptions): Events {
  const toLine = format === "json" ? getJsonLinesFormatter({ properties: "flatten" }) : textFormatter();
  const withinRate = getThrottlingFilter({
    limit: LIMITS.eventsPerWindowMax,
    windowMs: LIMITS.eventWindowMs,
    clock: () => clock.nowMs(),
    key: (record) => String(record.properties["event"]),
    summary: {
      logger: {
        warning(_message, { key, suppressed }) {
          const [kind, count] = [String(key), Number(suppressed)];
          emit("warn", SUPPRESSED, `${count} more events "${kind}" were not written`, { kind, count });
        },
      },
    },
  });
  configureSync({
    reset: true,
    sinks: { line: (record) => write(toLine(record)) },
    filters: { withinRate: (record) => record.properties["event"] === SUPPRESSED || withinRate(record) },
    loggers: [
      { category: CATEGORY, lowestLevel: logLevel(level), sinks: ["line"], filters: ["withinRate"] },
      { category: ["logtape", "meta"], lowestLevel: "error", sinks: ["line"] },
    ],
  });
  const logger = getLogger(CATEGORY);

  function emit(eventLevel: EventLevel, name: string, text: string, fields: EventFields = {}): void {
    if (SEVERITY[eventLevel] < SEVERITY[level]) return;
    const properties: Record<string, string | number | boolean> = { event: name };
    for (const [key, value] of Object.entries(fields)) {
      if (value === undefined) continue;
      properties[key] = typeof value === "string" ? printable(value, LIMITS.eventValueMax) : value;
    }
    // As one literal part: braces in a topic name are no placeholders.
    const message = printable(text, LIMITS.eventTextMax);
    logger.emit({
      level: logLevel(eventLevel),
      message: [message],
      rawMessage: message,
      timestamp: clock.wallMs(),
      properties,
    });
  }

  return {
    debug: (name, text, fields) => emit("debug", name, text, fields),
    info: (name, text, fields) => emit("info", name, text, fields),
    warn: (name, text, fields) => emit("warn", name, text, fields),
    error: (name, text, fields) => emit("error", name, text, fields),
    enabled: (asked) => SEVERITY[asked] >= SEVERITY[level],
  };
}

function logLevel(level: EventLevel): LogLevel {
  return level === "warn" ? "warning" : level;
}

/**
 * `2026-03-01 12:00:00.000 info  Closed a client: … (connection.breach reasonCode=130)` in UTC. A field whose value the
 * sentence already says is left out: people read it once, machines read JSON.
 */
function textFormatter(): (record: LogRecord) => string {
  return getTextFormatter({
    timestamp: (wallMs) => new Date(wallMs).toISOString().replace("T", " ").replace("Z", ""),
    level: (level) => (level === "warning" ? "warn" : level).padEnd(5),
    format: ({ timestamp, level, message, record }) => {
      const { event, ...fields } = record.properties;
      const kind = typeof event === "string" ? event : record.category.join(".");
      const unsaid = Object.entries(fields).filter(([, value]) => !says(message, String(value)));
      const words = [kind, ...unsaid.map(formatField)];
      return `${timestamp ?? ""} ${level} ${message} (${words.join(" ")})`;
    },
  });
}

/** Whether the words of the value are in the sentence, not merely as a part of another word or number. */
function says(sentence: string, value: string): boolean {
  const at = value === "" ? -1 : sentence.indexOf(value);
  if (at === -1) return false;
  return !/^[\p{L}\p{N}]{2}$/u.test(sentence.slice(at - 1, at + 1)) &&
    !/^[\p{L}\p{N}]{2}$/u.test(sentence.slice(at + value.length - 1, at + value.length + 1));
}

/** Quoted where it would otherwise not be clear where the value ends; a string here is already printable. */
function formatField([key, value]: readonly [string, unknown]): string {
  const text = String(value);
  return /^[^\s"=()]+$/.test(text) ? `${key}=${text}` : `${key}="${text.replaceAll('"', "'")}"`;
}

/** Events that go nowhere, for parts that are run without an operator. */
export const NO_EVENTS: Events = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  enabled: () => false,
};
