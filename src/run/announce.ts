/**
 * The start-up lines: what it is, where the data is, what it listens on and for whom. Sentences for the person who starts
 * it, fields for machines; it opens nothing.
 */
import type { Config } from "../config/config.ts";
import { formatHostPort, formatListener, isEncrypted, isLoopback } from "../config/values.ts";
import { limitVariable } from "../config/variables.ts";
import type { Engine } from "../gateway/engine.ts";
import { damageText } from "../log/damage.ts";
import type { Events } from "../telemetry/events.ts";
import { VERSION } from "../version.ts";
import type { Listeners } from "./listeners.ts";

export function tellStarting(events: Events, about: { readonly config: Config; readonly runtime: string }): void {
  const { runtime, config: { kafka, site } } = about;
  const mode = kafka === undefined
    ? "embedded: no Kafka configured"
    : `site ${kafka.site}: Kafka at ${kafka.brokers.join(", ")}`;
  events.info("starting", `Tributary ${VERSION} on ${runtime}, ${mode}`, {
    version: VERSION,
    runtime,
    mode: kafka === undefined ? "embedded" : "edge",
    site,
  });
  if (kafka === undefined) return;
  const { rules } = kafka.routes;
  const shown = rules.length > RULES_SHOWN_MAX
    ? `${rules.length} rules; tributary check prints them`
    : rules.map(({ text }) => text).join("; ");
  events.info("routes", `Routes: ${shown}`);
}

/** More of them would push the other lines out of sight. */
const RULES_SHOWN_MAX = 4;

/** Where the data is, what was in it, and what of it is damaged. */
export function tellOpened(events: Events, about: { readonly engine: Engine; readonly directory: string }): void {
  const { engine, directory } = about;
  const { state } = engine.log;
  const [sessions, retained] = [state.clientSessions, state.retained.size];
  if (state.epochs.length === 1) {
    events.info("log.open", `Data in ${directory}, a new log`, { directory });
  } else {
    const found = `${counted(sessions, "session")} and ${counted(retained, "retained message")} are back`;
    events.info("log.open", `Data in ${directory}: ${found}`, { directory, sessions, retained });
  }
  const { replayedBytes, log: { nextPosition } } = engine;
  events.debug("log.replayed", `Replayed ${replayedBytes} bytes of the log; its next position is ${nextPosition}`, {
    replayedBytes,
    nextPosition,
  });
  for (const damage of engine.damaged) {
    const { kind, key } = damage;
    events.error("log.damaged", `${damageText(damage)} The loss ledger has it.`, { kind, key });
  }
}

/** What it listens on, and who may connect or see what there. */
export function tellListeners(
  events: Events,
  about: { readonly listeners: Listeners; readonly config: Config; readonly access: string },
): void {
  const { listeners, config: { http }, access } = about;
  for (const { listener, port } of listeners.mqtt) {
    const url = formatListener(listener, port);
    const isLocal = isLoopback(listener.host);
    const from = isLocal ? ", from this machine only" : "";
    const inClear = isLocal || isEncrypted(listener) ? "" : "; not encrypted";
    events.info("listener.open", `Listening on ${url}: ${access}${from}${inClear}`, { url });
  }
  if (http === undefined || listeners.httpPort === undefined) return;
  const url = `http://${formatHostPort({ host: http.host, port: listeners.httpPort })}`;
  const who = isLoopback(http.host) ? "for this machine only" : "details only with the token";
  events.info("listener.open", `Health and metrics on ${url}: ${who}`, { url });
}

export function tellReady(events: Events, about: {
  readonly milliseconds: number;
  readonly isTerminal: boolean;
}): void {
  const { milliseconds, isTerminal } = about;
  const hint = isTerminal ? "; Ctrl-C stops it" : "";
  events.info("ready", `Ready after ${milliseconds} ms${hint}`, { milliseconds });
}

/** The system allows fewer connections than the configuration: a warning only where somebody has asked for more. */
export function tellLimits(events: Events, about: { readonly config: Config; readonly connectionsMax: number }): void {
  const { config, connectionsMax } = about;
  const asked = config.limits.connectionsMax;
  if (connectionsMax >= asked) return;
  const name = limitVariable("connectionsMax");
  const isChosen = config.settings.some(({ variable, origin }) => variable === name && origin === "variable");
  const why = "the system allows no more open files (ulimit -n)";
  if (isChosen) {
    const text = `At most ${connectionsMax} connections, not the ${asked} of ${name}: ${why}`;
    events.warn("limits.lowered", text, { connectionsMax });
  } else {
    events.info("limits.lowered", `At most ${connectionsMax} connections: ${why}`, { connectionsMax });
  }
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
