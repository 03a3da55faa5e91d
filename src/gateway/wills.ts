/** Wills and the end of sessions: what happens at a deadline on the log clock (MQTT 5 §3.1.2.5, §3.1.2.11.2). */
import type { Session } from "../mqtt/session.ts";
import type { Hub } from "./hub.ts";
import type { Publishing } from "./publishing.ts";
import type { ShareGroups } from "./share_groups.ts";

export class Wills {
  readonly #hub: Hub;
  readonly #publishing: Publishing;
  readonly #shares: ShareGroups;

  constructor(hub: Hub, parts: { readonly publishing: Publishing; readonly shares: ShareGroups }) {
    this.#hub = hub;
    this.#publishing = parts.publishing;
    this.#shares = parts.shares;
  }

  /** After a start: everything that the recovered sessions have before them. */
  schedule(): void {
    for (const session of this.#hub.log.state.sessions.values()) this.watch(session);
  }

  /** The session is left, or was looked at: when to look again. */
  watch(session: Session): void {
    if (session.connected || this.#hub.log.state.sessions.get(session.number) !== session) return;
    const atMs = Math.min(session.will?.dueMs ?? Infinity, endsAtMs(session));
    if (atMs !== Infinity) this.#hub.deadlines.set(session, atMs);
  }

  /** Looks at sessions whose deadlines have passed. Whoever reconnected meanwhile has none any more. */
  tick(): void {
    const nowMs = this.#hub.log.clock.nowMs();
    for (let session = this.#hub.deadlines.take(nowMs); session; session = this.#hub.deadlines.take(nowMs)) {
      if (session.connected || this.#hub.log.state.sessions.get(session.number) !== session) continue;
      const { dueMs } = session.will ?? {};
      if (dueMs !== undefined && dueMs <= nowMs) this.fire(session);
      if (endsAtMs(session) <= nowMs) { // [MQTT5-4.1.0-2]
        this.#hub.counters.sessionsExpired++;
        this.endSession(session);
      } else this.watch(session);
    }
  }

  /** [MQTT3-3.1.2-8] [MQTT5-3.1.2-8] publishes the will; it is published once, whatever happens. */
  fire(session: Session): void {
    const will = session.will?.will;
    if (will === undefined) return;
    const { log, access, counters } = this.#hub;
    // [MQTT3-3.1.2-10] [MQTT5-3.1.2-10]
    log.append({ type: "will-fired", session: session.number }, { logged: session.logged });
    const { topicName, payload, qos, retain, properties } = will;
    const { clientId, owner } = session;
    const identity = { user: owner === "" ? undefined : owner };
    // The right may be gone since CONNECT.
    if (!access.allows({ action: "publish", identity, clientId, topicName })) return;
    // QoS 0 is delivered in any case, and told if it had to be kept too.
    if (log.full && qos > 0) {
      const atMs = this.#hub.platform.clock.wallMs();
      log.lose({ atMs, clientId, topicName, count: 1, reason: "log-full", detail: "A will found no room." });
      return;
    }
    counters.willsPublished++;
    const receivedMs = log.clock.nowMs();
    // [MQTT3-3.1.2-9] [MQTT3-3.1.2-16] [MQTT3-3.1.2-17] [MQTT5-3.1.2-14] [MQTT5-3.1.2-15]
    this.#publishing.own({ topicName, payload, qos, retain, properties, clientId, receivedMs }, { fromKafka: false });
    // A session that had to outlive its end for this will can end now.
    if (!session.connected && session.expirySeconds === 0) this.endSession(session);
  }

  /** The session is over; a will that it still owes is due now [MQTT5-3.1.3-9]. */
  endSession(session: Session): void {
    const { log } = this.#hub;
    if (log.state.sessions.get(session.number) !== session) return;
    if (session.will?.dueMs !== undefined) this.fire(session);
    if (log.state.sessions.get(session.number) !== session) return;
    this.#hub.deadlines.delete(session);
    this.#shares.ending(session);
    log.append({ type: "session-ended", session: session.number }, { logged: session.logged });
  }
}

/** The will of a session that ended with its connection may wait behind a restart for its client's return. */
function endsAtMs(session: Session): number {
  const waitsForWill = session.will !== undefined && session.expirySeconds === 0;
  return waitsForWill ? Infinity : session.expiresAtMs ?? Infinity;
}
