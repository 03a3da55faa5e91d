/**
 * The gateway: accepts connections, hands their packets to the parts that know what they mean, and keeps time. One instance;
 * everything in it happens in one thread, and nothing here waits.
 */
import type { Access } from "../access/access.ts";
import type { Limits } from "../limits.ts";
import { LIMITS } from "../limits.ts";
import type { DownlinkPosition } from "../log/entry.ts";
import type { Log } from "../log/log.ts";
import type { Message } from "../mqtt/message.ts";
import { UnsupportedVersionError } from "../mqtt/connect_codec.ts";
import type { ConnackPacket, IncomingPacket } from "../mqtt/packet.ts";
import { ProtocolError, REASON, UnansweredError } from "../mqtt/reason_codes.ts";
import type { Session } from "../mqtt/session.ts";
import { TopicTable } from "../mqtt/topic_table.ts";
import type { Platform, Socket } from "../ports.ts";
import { Acknowledging } from "./acknowledging.ts";
import { Authenticating } from "./authenticating.ts";
import { Connecting } from "./connecting.ts";
import type { ConnectionContext, ConnectionHandler } from "./connection.ts";
import { Connection, parkedBytes } from "./connection.ts";
import { count, Counters, type GatewayFigures } from "./counters.ts";
import { Deadlines } from "./deadlines.ts";
import { Delivery } from "./delivery.ts";
import type { Announced, Hub, Router, Tell } from "./hub.ts";
import { Outboxes } from "./outbox.ts";
import { Publishing } from "./publishing.ts";
import { Retained } from "./retained.ts";
import { Subscribing } from "./subscribing.ts";
import { Sys, type SysOptions } from "./sys.ts";
import { ShareGroups } from "./share_groups.ts";
import type { Transport } from "./transport.ts";
import { pump, transportOf } from "./transport.ts";
import { Wills } from "./wills.ts";

export interface GatewayOptions {
  readonly log: Log;
  readonly access: Access;
  readonly limits: Limits;
  readonly announced: Announced;
  readonly router: Router;
  readonly platform: Platform;
  readonly tell: Tell;
  readonly sys: SysOptions;
  /** Asks for a call of `endTurn` at the end of this event-loop turn. */
  readonly requestTurn: () => void;
}

export class Gateway implements ConnectionHandler {
  readonly counters: Counters = new Counters();
  readonly #hub: Hub;
  readonly #requestTurn: () => void;
  readonly #outboxes: Outboxes;
  readonly #context: ConnectionContext;
  readonly #connections = new Set<Connection>();
  readonly #parked = new Set<Connection>();
  readonly #delivery: Delivery;
  readonly #acknowledging: Acknowledging;
  readonly #publishing: Publishing;
  readonly #subscribing: Subscribing;
  readonly #retained: Retained;
  readonly #wills: Wills;
  readonly #sys: Sys;
  readonly #authenticating: Authenticating;
  readonly #connecting: Connecting;
  /** Bytes of all connections' messages that wait for their commit. */
  readonly #inbound = { bytes: 0 };
  /** Connections without a session: a CONNECT whose password is being checked is not one of a known client yet. */
  #halfOpen = 0;
  #stopping = false;

  constructor(options: GatewayOptions) {
    const { log, access, limits, announced, router, platform, tell } = options;
    const { counters } = this;
    const [connectionOf, deadlines] = [new Map<Session, Connection>(), new Deadlines<Session>()];
    this.#hub = { log, access, limits, announced, router, platform, tell, counters, connectionOf, deadlines };
    const decoding = {
      maximumPacketBytes: limits.maximumPacketBytes,
      preConnectMaximumPacketBytes: limits.connectMaxBytes,
      topicTable: new TopicTable({ levelsMax: limits.filterLevelsMax }),
    };
    this.#context = { handler: this, limits, decoding, platform, inbound: this.#inbound };
    this.#requestTurn = options.requestTurn;
    this.#outboxes = new Outboxes(options.requestTurn);
    this.#delivery = new Delivery(this.#hub);
    this.#acknowledging = new Acknowledging(this.#hub, this.#delivery);
    const shares = new ShareGroups(this.#hub, this.#delivery);
    const publishing = { delivery: this.#delivery, acknowledging: this.#acknowledging, shares };
    this.#publishing = new Publishing(this.#hub, publishing);
    this.#retained = new Retained(this.#hub, this.#delivery);
    const figures = (): GatewayFigures => this.figures();
    this.#sys = new Sys(this.#hub, { delivery: this.#delivery, options: options.sys, figures });
    const subscribers = { retained: this.#retained, delivery: this.#delivery, sys: this.#sys, shares };
    this.#subscribing = new Subscribing(this.#hub, subscribers);
    this.#wills = new Wills(this.#hub, { publishing: this.#publishing, shares });
    this.#authenticating = new Authenticating(this.#hub);
    this.#authenticating.onFailed = (connection, error) => this.breach(connection, error);
    const authenticating = this.#authenticating;
    this.#connecting = new Connecting(this.#hub, { ...subscribers, wills: this.#wills, authenticating });
    this.#connecting.onAdmitted = () => this.#halfOpen--;
    this.#wills.schedule();
  }

  /** What is there now, and totals that open connections still count themselves. Walks all connections. */
  figures(): GatewayFigures {
    const { bytesIn, bytesOut, packetsIn, packetsOut } = this.counters;
    const totals = { bytesIn, bytesOut, packetsIn, packetsOut };
    for (const connection of this.#connections) addTotals(totals, connection);
    const { waiting } = this.#hub.log.state;
    const connected = this.#hub.connectionOf.size;
    return { ...totals, connected, halfOpen: this.#halfOpen, waiting, inboundBytes: this.#inbound.bytes };
  }

  /** Serves a socket until it ends. */
  accept(socket: Socket): void {
    const connection = this.attach(transportOf(socket));
    if (connection !== undefined) void pump(socket, connection); // pump never rejects and ends with the socket
  }

  /** A connection over a transport; the caller feeds it. Undefined: refused, the transport is aborted. */
  attach(transport: Transport): Connection | undefined {
    const { limits } = this.#hub;
    if (this.#stopping || this.#connections.size >= limits.connectionsMax || this.#isCrowded(transport.peer.address)) {
      transport.abort();
      return undefined;
    }
    const connection = new Connection(transport, this.#outboxes.create(transport), this.#context);
    this.counters.connectionsAccepted++;
    this.#connections.add(connection);
    this.#halfOpen++;
    return connection;
  }

  packet(connection: Connection, packet: IncomingPacket): void {
    if (connection.parked.length > 0 && mustWait(connection, packet)) return this.#park(connection, packet);
    if (connection.phase === "authenticating") this.#authenticating.check(packet);
    switch (packet.type) {
      case "connect":
        return this.#connecting.connect(connection, packet);
      case "publish":
        if (!this.#publishing.packet(connection, packet)) this.#park(connection, packet);
        return;
      case "puback":
        return this.#acknowledging.puback(connection, packet);
      case "pubrec":
        return this.#acknowledging.pubrec(connection, packet);
      case "pubrel":
        return this.#acknowledging.pubrel(connection, packet);
      case "pubcomp":
        return this.#acknowledging.pubcomp(connection, packet);
      case "subscribe":
        return this.#subscribing.subscribe(connection, packet);
      case "unsubscribe":
        return this.#subscribing.unsubscribe(connection, packet);
      case "pingreq":
        connection.outbox.packet({ type: "pingresp" }); // [MQTT3-3.12.4-1] [MQTT5-3.12.4-1]
        return;
      case "disconnect":
        return this.#connecting.disconnect(connection, packet);
      case "auth":
        return this.#authenticating.auth(connection, packet);
    }
  }

  breach(connection: Connection, error: ProtocolError): void {
    count(this.counters.disconnects, error.reasonCode);
    const { address } = connection.transport.peer;
    const clientId = connection.session?.clientId ?? "";
    const text = `Closed ${clientId || "a client"} from ${address}: ${error.message}`;
    this.#hub.tell("info", "connection.breach", text, { clientId, address, reasonCode: error.reasonCode });
    if (error instanceof UnsupportedVersionError) {
      connection.refuse(refusing(error.reasonCode), error.answerVersion); // [MQTT3-3.1.2-2] [MQTT5-3.1.2-2]
    } else if (error instanceof UnansweredError) {
      connection.close();
    } else if ((connection.phase === "new" || connection.phase === "authenticating") && connection.version === 5) {
      connection.refuse(refusing(error.reasonCode)); // [MQTT5-3.1.4-1] [MQTT5-3.14.0-1]
    } else {
      // [MQTT3-3.1.4-1] [MQTT3-3.2.2-6] [MQTT3-4.8.0-1] [MQTT5-4.13.1-1]
      connection.disconnect(error.reasonCode, error.message);
    }
    this.#connecting.leave(connection, { withWill: true, expirySeconds: undefined });
  }

  drained(connection: Connection): void {
    this.#delivery.pump(connection);
    const { session } = connection;
    if (session !== undefined && session.replays.size > 0) this.#retained.replay(session);
  }

  closed(connection: Connection): void {
    addTotals(this.counters, connection);
    this.#connections.delete(connection);
    if (connection.session === undefined) this.#halfOpen--;
    this.#unpark(connection);
    this.#acknowledging.closed(connection);
    this.#authenticating.closed(connection);
    // [MQTT3-3.1.2-8] [MQTT5-3.1.2-8] the connection closed without DISCONNECT: its will is due.
    this.#connecting.leave(connection, { withWill: true, expirySeconds: undefined });
  }

  /** The end of an event-loop turn: one write per connection. */
  flush(): void {
    this.#outboxes.flush();
  }

  /** A commit is durable: what found the log full may go on, if there is room now. */
  committed(): void {
    if (this.#parked.size === 0) return;
    // A copy: whoever finds the log full again is back in the set.
    for (const connection of [...this.#parked]) {
      if (this.#hub.log.full) return;
      this.#retryParked(connection);
    }
  }

  /** Everything up to the position is in Kafka, except what was refused for good. */
  uplinkReached(through: number, refused: readonly number[]): void {
    this.#acknowledging.uplinkReached(through, refused);
  }

  /** What a downlink read, with the position it reached, in one commit. False: no room, try again later. */
  publishFromKafka(messages: readonly Message[], positions: readonly DownlinkPosition[]): boolean {
    if (this.#hub.log.full) return false;
    for (const message of messages) this.#publishing.own(message, { fromKafka: true });
    this.#hub.log.append({ type: "downlink", positions });
    return true;
  }

  /** Coarse timer: keep-alive, slow handshakes, completions, deadlines. */
  tick(): void {
    const nowMs = this.#hub.platform.clock.nowMs();
    for (const connection of this.#connections) this.#check(connection, nowMs);
    this.#wills.tick();
    this.#sys.tick(nowMs);
    this.#authenticating.tick(nowMs);
    this.committed();
    this.#requestTurn();
  }

  /** The end is near: who is connected goes on, but nobody is let in any more. `stop` follows. */
  drain(): void {
    this.#connecting.isDraining = true;
  }

  get isDraining(): boolean {
    return this.#connecting.isDraining;
  }

  /** Tells every client and closes; sessions stay as they are in the log, like after a crash. */
  stop(): void {
    this.#stopping = true;
    this.drain();
    const { serverReference } = this.#hub.announced;
    const reasonCode = serverReference === undefined ? REASON.serverShuttingDown : REASON.serverMoved; // §4.11
    for (const connection of this.#connections) {
      this.#unpark(connection);
      this.#delivery.appendCompletions(connection);
      if (connection.session !== undefined) this.#hub.connectionOf.delete(connection.session);
      const { phase } = connection;
      if (phase === "connecting" || phase === "authenticating") this.#connecting.turnAway(connection);
      else connection.disconnect(reasonCode, "The gateway is stopping", { serverReference });
    }
    this.flush();
  }

  #isCrowded(address: string): boolean {
    const { halfOpenMax, halfOpenPerAddressMax } = this.#hub.limits;
    if (this.#halfOpen >= halfOpenMax) return true;
    if (this.#halfOpen < halfOpenPerAddressMax) return false;
    let fromAddress = 0;
    for (const { session, transport } of this.#connections) {
      if (session === undefined && transport.peer.address === address) fromAddress++;
    }
    return fromAddress >= halfOpenPerAddressMax;
  }

  #check(connection: Connection, nowMs: number): void {
    switch (connection.phase) {
      case "new":
        if (nowMs - connection.openedMs > LIMITS.connectTimeoutMs) connection.close();
        return;
      case "open": {
        const { keepAliveSeconds } = connection;
        // [MQTT3-3.1.2-24] [MQTT5-3.1.2-22] one and a half times the keep-alive.
        if (keepAliveSeconds > 0 && nowMs - connection.receivedMs > this.#keepAliveMs(connection)) {
          count(this.counters.disconnects, REASON.keepAliveTimeout);
          connection.disconnect(REASON.keepAliveTimeout, "No packet within one and a half times the keep-alive");
          this.#connecting.leave(connection, { withWill: true, expirySeconds: undefined });
          return;
        }
        if (nowMs - connection.completedMs >= LIMITS.completionIntervalMs) this.#delivery.appendCompletions(connection);
        return;
      }
      default:
        return;
    }
  }

  /** While we do not read the client we cannot see its packets: its deadline waits, but not for ever. */
  #keepAliveMs(connection: Connection): number {
    const ownMs = connection.keepAliveSeconds * 1500;
    return connection.isReading ? ownMs : Math.max(ownMs, LIMITS.keepAlivePauseMaxMs);
  }

  /** The log is full: a 3.1.1 client's packet waits, in order; what frees space is still handled. */
  #park(connection: Connection, packet: IncomingPacket): void {
    if (connection.parked.length === 0) this.#parked.add(connection);
    connection.parked.push(packet);
    this.counters.parked++;
    // The first one waits in any case; the look-ahead behind it is bounded.
    if (parkedBytes(connection.parked.slice(1)) <= LIMITS.parkedLookaheadBytes) return;
    this.#hub.tell("warn", "connection.parked-out", "Closed a client: the log is full and too much waits", {
      clientId: connection.session?.clientId ?? "",
    });
    this.#unpark(connection);
    count(this.counters.disconnects, REASON.quotaExceeded);
    connection.disconnect(REASON.quotaExceeded); // [MQTT3-4.8.0-2]
    this.#connecting.leave(connection, { withWill: true, expirySeconds: undefined });
  }

  #retryParked(connection: Connection): void {
    const waiting = connection.parked.splice(0);
    this.counters.parked -= waiting.length;
    this.#parked.delete(connection);
    for (const packet of waiting) {
      if (connection.isOpen) this.#packetAfterWaiting(connection, packet);
      else this.#publishing.dropParked(connection, packet);
    }
  }

  /** Like a packet that has just come, whose breaches the connection itself would report. */
  #packetAfterWaiting(connection: Connection, packet: IncomingPacket): void {
    try {
      this.packet(connection, packet);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.breach(connection, error);
    }
  }

  #unpark(connection: Connection): void {
    this.counters.parked -= connection.parked.length;
    for (const packet of connection.parked.splice(0)) this.#publishing.dropParked(connection, packet);
    this.#parked.delete(connection);
  }
}

/** What the connection has counted itself. */
function addTotals(to: Pick<Counters, "bytesIn" | "bytesOut" | "packetsIn" | "packetsOut">, from: Connection): void {
  to.bytesIn += from.receivedBytes;
  to.bytesOut += from.outbox.sentBytes;
  to.packetsIn += from.receivedPackets;
  to.packetsOut += from.outbox.sentPackets;
}

/**
 * Packets whose order against a waiting PUBLISH counts. A repeat of a QoS 2 message that is in the log needs no room, and
 * must not come behind its PUBREL: it would pass for another message.
 */
function mustWait({ session }: Connection, packet: IncomingPacket): boolean {
  if (packet.type === "publish" && packet.qos === 2 && session?.received.has(packet.packetId) === true) return false;
  return packet.type === "publish" || packet.type === "subscribe" || packet.type === "unsubscribe";
}

function refusing(reasonCode: number): ConnackPacket {
  return { type: "connack", sessionPresent: false, reasonCode };
}
