/**
 * CONNECT: who it is, which session it gets, what the gateway announces (MQTT 5 §3.1.4, §3.2); and the other end of that: a
 * connection that closes, its will, its session's expiry. Credentials are checked before any session is touched.
 */
import type { Identity } from "../access/access.ts";
import { LIMITS } from "../limits.ts";
import type { ConnackPacket, ConnectPacket, DisconnectPacket, Will } from "../mqtt/packet.ts";
import { SESSION_NEVER_EXPIRES } from "../mqtt/packet.ts";
import { isUtf8 } from "../mqtt/payload_format.ts";
import { ProtocolError, REASON } from "../mqtt/reason_codes.ts";
import type { Session } from "../mqtt/session.ts";
import { isDeeperThan, isReservedTopicName } from "../mqtt/topics.ts";
import { utf8Bytes } from "../mqtt/utf8.ts";
import { Window } from "../mqtt/window.ts";
import type { Authenticating, AuthenticationProperties } from "./authenticating.ts";
import type { Connection } from "./connection.ts";
import { count } from "./counters.ts";
import type { Delivery } from "./delivery.ts";
import type { Hub } from "./hub.ts";
import type { Retained } from "./retained.ts";
import type { ShareGroups } from "./share_groups.ts";
import type { Sys } from "./sys.ts";
import type { Wills } from "./wills.ts";

/** What a CONNECT that is accepted leads to. */
interface ConnectionStart {
  readonly packet: ConnectPacket;
  readonly expirySeconds: number;
  readonly sessionPresent: boolean;
  /** Of enhanced authentication. */
  readonly properties: AuthenticationProperties | undefined;
}

export class Connecting {
  readonly #hub: Hub;
  readonly #delivery: Delivery;
  readonly #retained: Retained;
  readonly #wills: Wills;
  readonly #sys: Sys;
  readonly #shares: ShareGroups;
  readonly #authenticating: Authenticating;
  /** The gateway is about to stop: nobody gets a session any more. */
  isDraining = false;
  /** Told about every connection that got its session. */
  onAdmitted: () => void = () => {};

  constructor(
    hub: Hub,
    parts: {
      readonly delivery: Delivery;
      readonly retained: Retained;
      readonly wills: Wills;
      readonly sys: Sys;
      readonly shares: ShareGroups;
      readonly authenticating: Authenticating;
    },
  ) {
    this.#hub = hub;
    this.#delivery = parts.delivery;
    this.#retained = parts.retained;
    this.#wills = parts.wills;
    this.#sys = parts.sys;
    this.#shares = parts.shares;
    this.#authenticating = parts.authenticating;
  }

  /** Handles the CONNECT; the connection handles no further packet until the CONNACK has left. */
  connect(connection: Connection, packet: ConnectPacket): void {
    this.#hub.counters.connects++;
    connection.phase = "connecting";
    connection.authenticationMethod = packet.authenticationMethod;
    connection.explains = packet.requestProblemInformation;
    connection.outbox.version = packet.protocolVersion;
    connection.outbox.packetBytesMax = packet.maximumPacketBytes;
    if (this.isDraining) return this.turnAway(connection);
    // [MQTT3-3.1.3-8] an empty client identifier needs a clean session; MQTT 3.1 §3.1 has none.
    if (
      packet.clientId === "" && (packet.protocolVersion === 3 || (packet.protocolVersion === 4 && !packet.cleanStart))
    ) {
      return this.#refuse(connection, REASON.clientIdNotValid, "An empty client identifier needs a clean session");
    }
    if (packet.will?.properties?.payloadIsUtf8 === true && !isUtf8(packet.will.payload)) { // §3.1.3.2.3
      return this.#refuse(connection, REASON.payloadFormatInvalid, "The will's payload is not UTF-8, as it says");
    }
    if (packet.authenticationMethod !== undefined) { // [MQTT5-4.12.0-6]
      return this.#authenticating.begin(connection, packet, (outcome) => {
        if (outcome.allowed) return this.#admit(connection, packet, outcome);
        this.#tellRefused(connection, packet, { reasonCode: outcome.reasonCode, reason: outcome.message });
        this.#refuse(connection, outcome.reasonCode, outcome.message);
      });
    }
    const { peer } = connection.transport;
    const { clientId, userName, password } = packet;
    const isGone = (): boolean => connection.phase !== "connecting";
    // Never rejects; an exception in here is a bug of ours and ends the process.
    const request = { action: "connect", clientId, userName, password, peer, isGone } as const;
    void this.#hub.access.connect(request).then((decision) => {
      if (isGone()) return;
      if (decision.allowed) return this.#admit(connection, packet, { identity: decision.identity });
      const { reason } = decision;
      this.#tellRefused(connection, packet, { reasonCode: REFUSALS[reason], reason });
      this.#refuse(connection, REFUSALS[reason], "Refused");
    });
  }

  #tellRefused(
    connection: Connection,
    { clientId }: ConnectPacket,
    { reasonCode, reason }: { readonly reasonCode: number; readonly reason: string },
  ): void {
    const { address } = connection.transport.peer;
    const text = `Refused ${clientId || "a client"} from ${address}: ${reason}`;
    this.#hub.tell("info", "connect.refused", text, { clientId, address, reasonCode });
  }

  /** Answers a CONNECT by which server to use instead of this one, or that it stops (MQTT 5 §4.11). */
  turnAway(connection: Connection): void {
    const { serverReference } = this.#hub.announced;
    if (serverReference === undefined) {
      return this.#refuse(connection, REASON.serverUnavailable, "The gateway is stopping");
    }
    const { counters } = this.#hub;
    const reasonCode = REASON.serverMoved;
    count(counters.connectsRefused, reasonCode);
    connection.refuse({ type: "connack", sessionPresent: false, reasonCode, properties: { serverReference } });
  }

  #refuse(connection: Connection, reasonCode: number, reasonString: string): void {
    count(this.#hub.counters.connectsRefused, reasonCode);
    const properties = connection.explains ? { reasonString } : {};
    // [MQTT3-3.1.3-9] [MQTT5-3.1.3-8] [MQTT5-3.1.4-2]
    connection.refuse({ type: "connack", sessionPresent: false, reasonCode, properties });
  }

  #admit(
    connection: Connection,
    packet: ConnectPacket,
    { identity, properties }: { readonly identity: Identity; readonly properties?: AuthenticationProperties },
  ): void {
    if (this.isDraining) return this.turnAway(connection);
    const { log, access, limits } = this.#hub;
    const { will, cleanStart } = packet;
    // [MQTT3-3.1.3-6] [MQTT5-3.1.3-7]
    const clientId = packet.clientId === "" ? this.#assignClientId() : packet.clientId;
    const owner = identity.user ?? "";
    const existing = log.state.sessionOf.get(clientId);
    if (existing !== undefined && existing.owner !== owner) {
      return this.#refuse(connection, REASON.notAuthorized, "The client identifier belongs to another user");
    }
    if (
      will !== undefined && (isReservedTopicName(will.topicName) ||
        !access.allows({ action: "publish", identity, clientId, topicName: will.topicName }))
    ) {
      return this.#refuse(connection, REASON.notAuthorized, "Not allowed to publish to the will's topic name");
    }
    if (will !== undefined && will.qos > limits.qosMax) { // [MQTT5-3.2.2-12]
      return this.#refuse(connection, REASON.qosNotSupported, "The will's QoS is above Maximum QoS");
    }
    if (will !== undefined && isDeeperThan(will.topicName, limits.filterLevelsMax)) {
      return this.#refuse(connection, REASON.topicNameInvalid, "The will's topic name has too many levels");
    }
    const expirySeconds = Math.min(packet.sessionExpirySeconds, limits.sessionExpiryMaxSeconds);
    if (existing === undefined) {
      // A session that ends with its connection needs nothing of the log; one that takes another's place frees space.
      const logFull = log.full && (expirySeconds > 0 || will !== undefined);
      if (logFull) return this.#refuse(connection, REASON.quotaExceeded, "The log is full: no new session");
      if (log.state.clientSessions >= limits.sessionsMax) {
        return this.#refuse(connection, REASON.serverBusy, "There are as many sessions as allowed");
      }
    }
    connection.identity = identity;
    if (existing !== undefined) this.#takeOver(existing);
    if (existing !== undefined) this.#forgetWill(existing);
    // [MQTT3-3.1.2-4] [MQTT3-3.1.3-2] [MQTT3-3.1.4-3] [MQTT3-4.1.0-1] [MQTT5-3.1.2-5] [MQTT5-3.1.2-23] [MQTT5-3.1.3-2]
    // [MQTT5-3.1.4-4]
    const kept = cleanStart ? undefined : log.state.sessionOf.get(clientId);
    if (cleanStart && existing !== undefined) this.#wills.endSession(existing); // [MQTT3-3.1.2-6] [MQTT5-3.1.2-4]
    const session = kept ?? this.#create({ clientId, owner, expirySeconds, will }); // [MQTT3-3.1.2-4] [MQTT5-3.1.2-6]
    // [MQTT3-3.2.2-1] [MQTT3-3.2.2-2] [MQTT3-3.2.2-3] [MQTT5-3.2.2-2] [MQTT5-3.2.2-3]
    this.#open(connection, session, { packet, expirySeconds, sessionPresent: kept !== undefined, properties });
  }

  /** [MQTT3-3.1.4-2] [MQTT5-3.1.4-3] the older connection of the client identifier is closed first. */
  #takeOver(session: Session): void {
    const older = this.#hub.connectionOf.get(session);
    if (older === undefined) return;
    count(this.#hub.counters.disconnects, REASON.sessionTakenOver);
    older.disconnect(REASON.sessionTakenOver, "Another connection uses the client identifier");
    this.leave(older, { withWill: true, expirySeconds: undefined });
  }

  /**
   * After a restart a session that ended with its connection may still wait to publish its will. Its client is back in
   * time, so the will is void; there is no state to resume.
   */
  #forgetWill(session: Session): void {
    const { log } = this.#hub;
    if (session.durable || session.connected || log.state.sessions.get(session.number) !== session) return;
    log.append({ type: "will-fired", session: session.number }, { logged: session.logged });
    this.#wills.endSession(session);
  }

  #create(about: { clientId: string; owner: string; expirySeconds: number; will: Will | undefined }): Session {
    const { log } = this.#hub;
    const number = log.state.nextSession;
    const durable = about.expirySeconds > 0;
    const logged = durable || about.will !== undefined;
    const { clientId, owner } = about;
    log.append({ type: "session-created", session: number, clientId, owner, durable, logged }, { logged });
    const session = log.state.sessions.get(number);
    if (session === undefined) throw new Error(`session ${number} was just created`);
    return session;
  }

  #open(
    connection: Connection,
    session: Session,
    about: ConnectionStart,
  ): void {
    const { log, limits, connectionOf, deadlines, counters } = this.#hub;
    const { packet, expirySeconds } = about;
    deadlines.delete(session);
    const will = packet.will && { ...packet.will, payload: new Uint8Array(packet.will.payload) };
    log.append(
      { type: "session-connected", session: session.number, expirySeconds, will, atMs: log.clock.nowMs() },
      { logged: session.logged },
    );
    connection.session = session;
    this.onAdmitted();
    connection.limitPackets(this.#maximumPacketBytes(packet));
    connection.topicAliasMaximum = packet.protocolVersion === 5 ? limits.topicAliasMaximum : 0;
    connection.window = new Window(session.places, {
      countMax: Math.min(packet.receiveMaximum, limits.windowMax), // [MQTT5-4.9.0-1]
      bytesMax: limits.windowMaxBytes,
    });
    const aliasMax = Math.min(packet.topicAliasMaximum, limits.topicAliasesToClientMax);
    connection.outbox.useTopicAliases(aliasMax);
    connection.keepAliveSeconds = this.#keepAlive(packet);
    connectionOf.set(session, connection);
    counters.connectedMax = Math.max(counters.connectedMax, connectionOf.size);
    const connack = this.#connack(connection, session, about);
    log.after({
      run: () => {
        if (connection.phase !== "connecting") return;
        connection.admit();
        // A client that takes no CONNACK is one that nothing can be said to [MQTT5-3.1.2-24].
        // [MQTT3-3.1.4-4] [MQTT3-3.2.0-1] [MQTT5-3.1.4-5] [MQTT5-3.2.0-1] [MQTT5-3.2.0-2]
        if (!connection.outbox.packet(connack)) return connection.close();
        this.#shares.opened(connection);
        this.#delivery.pump(connection);
        this.#retained.replay(session);
        if (about.sessionPresent) this.#sys.resumed(connection);
        connection.checkReading();
      },
    });
  }

  #keepAlive(packet: ConnectPacket): number {
    // Only MQTT 5 can be told another value than it asked for (§3.2.2.3.14).
    if (packet.protocolVersion !== 5) return packet.keepAliveSeconds;
    const { keepAliveMaxSeconds } = this.#hub.limits;
    return packet.keepAliveSeconds === 0 ? keepAliveMaxSeconds : Math.min(packet.keepAliveSeconds, keepAliveMaxSeconds);
  }

  /** A 3.1.1 client, which cannot be told, could only be closed for a larger packet, and would send it again. */
  #maximumPacketBytes({ protocolVersion }: ConnectPacket): number {
    const { limits, router } = this.#hub;
    if (protocolVersion !== 5) return limits.maximumPacketBytes;
    return Math.min(limits.maximumPacketBytes, router.packetBytesMax() ?? Infinity);
  }

  #connack(
    connection: Connection,
    session: Session,
    about: ConnectionStart,
  ): ConnackPacket {
    const { packet, expirySeconds, sessionPresent } = about;
    if (packet.protocolVersion !== 5) return { type: "connack", sessionPresent, reasonCode: REASON.success };
    const { limits, announced } = this.#hub;
    const { keepAliveSeconds } = connection;
    // [MQTT5-3.1.2-28]
    const responseInformation = packet.requestResponseInformation && announced.responseTopicPrefix !== undefined
      ? responseTopicPrefix(announced.responseTopicPrefix, session.clientId)
      : undefined;
    return {
      type: "connack",
      sessionPresent,
      reasonCode: REASON.success,
      properties: {
        ...(expirySeconds === packet.sessionExpirySeconds ? {} : { sessionExpirySeconds: expirySeconds }),
        ...(packet.clientId === "" ? { assignedClientId: session.clientId } : {}), // [MQTT5-3.1.3-7] [MQTT5-3.2.2-16]
        // [MQTT5-3.2.2-22]
        ...(keepAliveSeconds === packet.keepAliveSeconds ? {} : { serverKeepAliveSeconds: keepAliveSeconds }),
        receiveMaximum: limits.receiveMaximum,
        ...(limits.qosMax < 2 ? { maximumQoS: limits.qosMax as 0 | 1 } : {}), // [MQTT5-3.2.2-9]
        maximumPacketBytes: this.#maximumPacketBytes(packet),
        topicAliasMaximum: limits.topicAliasMaximum,
        ...about.properties, // [MQTT5-4.12.0-5]
        ...(responseInformation === undefined ? {} : { responseInformation }),
      },
    };
  }

  /** [MQTT5-3.1.3-6] an identifier that nobody else has: a random UUID. */
  #assignClientId(): string {
    const bytes = this.#hub.platform.randomBytes(16);
    bytes[6] = 0x40 | ((bytes[6] ?? 0) & 0x0f); // version 4
    bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f); // variant 1
    const digits = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    return `auto-${digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-")}`;
  }

  /** DISCONNECT from the client [MQTT3-3.14.4-3] [MQTT5-3.14.4-3]. Throws ProtocolError for a forbidden expiry. */
  disconnect(connection: Connection, packet: DisconnectPacket): void {
    const { session } = connection;
    const asked = packet.sessionExpirySeconds;
    // §3.14.2.2.2: a session that would end with its connection cannot be made to outlive it.
    if (session !== undefined && asked !== undefined && asked > 0 && session.expirySeconds === 0) {
      throw new ProtocolError(REASON.protocolError, "A session expiry of 0 cannot be raised in DISCONNECT");
    }
    const expirySeconds = asked === undefined ? undefined : Math.min(asked, this.#hub.limits.sessionExpiryMaxSeconds);
    // [MQTT5-3.1.2-8] any other reason leaves the will in force.
    this.leave(connection, { withWill: packet.reasonCode !== REASON.normalDisconnection, expirySeconds });
    // Our FIN says that the DISCONNECT is done: after a crash before that, the client's will would still be published.
    connection.phase = "leaving";
    this.#hub.log.after({ run: () => connection.close() });
  }

  /** The connection leaves its session, which waits, expires or ends. Does nothing the second time. */
  leave(
    connection: Connection,
    how: { readonly withWill: boolean; readonly expirySeconds: number | undefined },
  ): void {
    const { session } = connection;
    // [MQTT3-4.1.0-2] [MQTT5-4.1.0-1]
    if (session === undefined || this.#hub.connectionOf.get(session) !== connection) return;
    this.#delivery.appendCompletions(connection);
    this.#retained.closed(session);
    this.#hub.connectionOf.delete(session);
    this.#shares.left(connection);
    const { log } = this.#hub;
    const atMs = log.clock.nowMs();
    const expirySeconds = how.expirySeconds ?? session.expirySeconds;
    const endsAtMs = expirySeconds === SESSION_NEVER_EXPIRES ? Infinity : atMs + expirySeconds * 1000;
    const will = how.withWill ? session.will?.will : undefined;
    const willDueMs = will && Math.min(atMs + will.delaySeconds * 1000, endsAtMs); // [MQTT5-3.1.3-9]
    log.append({ type: "session-disconnected", session: session.number, expirySeconds, willDueMs, atMs }, {
      logged: session.logged,
    });
    if (willDueMs !== undefined && willDueMs <= atMs) this.#wills.fire(session);
    if (endsAtMs <= atMs) this.#wills.endSession(session);
    else this.#wills.watch(session);
  }
}

/**
 * Begins topic names that are the client's own (MQTT 5 §4.10.1): what has a meaning in topics, and the percent sign, is
 * escaped, so that two identifiers never share one. Undefined if no topic name could begin so.
 */
function responseTopicPrefix(prefix: string, clientId: string): string | undefined {
  const escaped = clientId.replaceAll(/[%+#/]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);
  const whole = `${prefix}${escaped}/`;
  return utf8Bytes(whole) < LIMITS.topicNameBytes ? whole : undefined;
}

/** MQTT 5 §3.2.2.2 [MQTT5-3.2.2-8]; the codec turns them into 3.1.1's return codes. */
const REFUSALS = {
  "bad-credentials": REASON.badUserNameOrPassword,
  "not-authorized": REASON.notAuthorized,
  "unavailable": REASON.serverUnavailable,
} as const;
