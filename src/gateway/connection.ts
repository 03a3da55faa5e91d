/**
 * One Network Connection: bytes in, packets to the handler in order, packets out through its outbox; and how it ends. Knows
 * when to stop reading; what packets mean is the handler's business.
 */
import { LIMITS } from "../limits.ts";
import type { Limits } from "../limits.ts";
import { Decoder, type DecoderOptions } from "../mqtt/decoder.ts";
import type { MessageProperties } from "../mqtt/message.ts";
import type { ConnackPacket, IncomingPacket, ProtocolVersion, PublishPacket } from "../mqtt/packet.ts";
import { ProtocolError } from "../mqtt/reason_codes.ts";
import type { Session } from "../mqtt/session.ts";
import type { Window } from "../mqtt/window.ts";
import type { Identity } from "../access/access.ts";
import type { Platform } from "../ports.ts";
import type { Outbox } from "./outbox.ts";
import type { Receiving, Transport } from "./transport.ts";

/** What the gateway does with what a connection brings. */
export interface ConnectionHandler {
  packet(connection: Connection, packet: IncomingPacket): void;
  /** The peer broke the rules: answer as its version allows, then close. */
  breach(connection: Connection, error: ProtocolError): void;
  /** The socket took some of what was queued. */
  drained(connection: Connection): void;
  /** The network connection is over. Called once. */
  closed(connection: Connection): void;
}

/** What all connections of a gateway share. */
export interface ConnectionContext {
  readonly handler: ConnectionHandler;
  readonly limits: Limits;
  readonly decoding: DecoderOptions;
  readonly platform: Platform;
  /** Bytes of all connections' messages that wait for their commit. */
  readonly inbound: { bytes: number };
}

/**
 * `new` → CONNECT came: `connecting` → CONNACK left: `open` → DISCONNECT came: `leaving` → FIN sent, lingering: `closing`
 * → `closed`. Any of them may be left out. From `connecting` to `authenticating` and back, for every AUTH that is awaited.
 */
export type Phase = "new" | "connecting" | "authenticating" | "open" | "leaving" | "closing" | "closed";

/** Until it is known who it is. */
const NOBODY: Identity = { user: undefined };

export class Connection implements Receiving {
  readonly outbox: Outbox;
  readonly transport: Transport;
  readonly #context: ConnectionContext;
  readonly #decoder: Decoder;
  phase: Phase = "new";
  /** What CONNECT named; the rest of the packet is not kept. */
  authenticationMethod: string | undefined;
  /**
   * Whether reason strings leave: to a client that asks for them with Request Problem Information 1. Where it is absent the
   * standard would let us explain (MQTT 5 §3.1.2.11.7), but then packets would be larger than they need be, and not those
   * that other brokers send.
   */
  explains = false;
  identity: Identity = NOBODY;
  session: Session | undefined;
  window: Window | undefined;
  readonly openedMs: number;
  /** Bytes received so far, for the metrics. */
  receivedBytes = 0;
  receivedPackets = 0;
  /** When the last packet came, on the monotonic clock. */
  receivedMs: number;
  keepAliveSeconds = 0;
  /** Topic Alias Maximum announced to the client. */
  topicAliasMaximum = 0;
  /** Topic aliases of the client → topic name; they end with it [MQTT5-3.3.2-7]. */
  readonly topicAliases: Map<number, string> = new Map();
  /** Packet identifiers of the client's QoS 1 and 2 messages that are not fully acknowledged, for Receive Maximum. */
  readonly unacknowledged: Set<number> = new Set();
  /** PUBLISH, SUBSCRIBE and UNSUBSCRIBE of a 3.1.1 client that wait for room in the log. */
  readonly parked: IncomingPacket[] = [];
  /** Inbound QoS 2 packet identifiers in use on this connection, whose PUBREC has not left yet. */
  readonly receiving: Set<number> = new Set();
  /**
   * Inbound QoS 2 packet identifiers that came again without DUP, with what came: there only once a client has done
   * that.
   */
  repeats: Map<number, string> | undefined;
  /** Places from `from` on wait until the log is durable up to `until`; both ascend. */
  #held: { readonly from: number; readonly until: number }[] | undefined; // nearly always none
  /** Places up to here are sent also to a slow socket: one of them is of a message that cannot be read again. */
  promisedThrough = -1;
  /** A read of waiting messages from the log is under way. */
  loading = false;
  /** Completions were appended at this time. */
  completedMs = 0;
  /** Bytes of its messages that wait for their commit. */
  #unacknowledgedBytes = 0;
  #processing = false;
  /** It has had its share of this turn. */
  #resting = false;
  #resume: (() => void) | undefined;

  constructor(transport: Transport, outbox: Outbox, context: ConnectionContext) {
    this.#context = context;
    this.transport = transport;
    this.outbox = outbox;
    this.openedMs = context.platform.clock.nowMs();
    this.receivedMs = this.openedMs;
    this.#decoder = new Decoder(context.decoding);
    transport.onDrain = () => this.#drained();
  }

  /** Largest packet taken from now on: what is announced, or less than that. */
  limitPackets(bytesMax: number): void {
    this.#decoder.limitPackets(bytesMax);
  }

  /** 3.1.1 until the CONNECT is known. */
  get version(): ProtocolVersion {
    return this.#decoder.protocolVersion ?? 4;
  }

  get isOpen(): boolean {
    return this.phase === "open";
  }

  /** The socket takes nothing: QoS 0 is dropped, QoS 1 and 2 wait. */
  get isBehind(): boolean {
    return this.outbox.queuedBytes > LIMITS.slowSocketMaxBytes;
  }

  /** False while the socket is not read because of what this client sends or does not take. */
  get isReading(): boolean {
    return this.#mayProcess;
  }

  receive(chunk: Uint8Array): Promise<void> | undefined {
    this.receivedBytes += chunk.byteLength;
    // [MQTT3-3.1.4-5] [MQTT5-3.1.4-6]
    if (this.#isOver) return undefined; // read to the end, so that FIN is seen
    this.#decoder.push(chunk);
    this.#process();
    return this.#readable();
  }

  ended(): void {
    if (this.phase === "closed") return;
    this.phase = "closed";
    this.transport.abort();
    this.#resume?.();
    this.#context.handler.closed(this);
  }

  /** It is known who it is: its packets may be as large as was announced. */
  admit(): void {
    this.#decoder.admit();
    this.phase = "open";
  }

  /** So many bytes of its messages wait for their commit, or, negative, have left. */
  weigh(bytes: number): void {
    this.#unacknowledgedBytes += bytes;
    this.#context.inbound.bytes += bytes;
  }

  /** The place was taken for a message older than the entry that says so: it must not be sent before that is durable. */
  hold(place: number, until: number): void {
    (this.#held ??= []).push({ from: place, until });
  }

  /** Whether the place, or one before it, waits for the log. */
  isHeld(place: number, committedThrough: number): boolean {
    const held = this.#held;
    if (held === undefined) return false;
    let first = held[0];
    while (first !== undefined && first.until <= committedThrough) {
      held.shift();
      first = held[0];
    }
    return first !== undefined && place >= first.from;
  }

  /** Something that may have kept us from reading is over. */
  checkReading(): void {
    // While the socket is read nothing waits in the decoder: the usual case, and it comes with every acknowledgement.
    if (this.#processing || this.#resume === undefined) return;
    this.#process();
    this.#wake();
  }

  /**
   * Sends what is queued, then FIN, and goes on reading so that the peer can read what we sent: a close with unread
   * input would make the system send RST.
   */
  close(): void {
    if (this.phase === "closing" || this.phase === "closed") return;
    this.phase = "closing";
    this.outbox.end();
    this.#resume?.();
    this.#context.platform.clock.after(LIMITS.lingerMs, () => {
      if (this.phase !== "closing") return;
      this.transport.abort();
      this.ended();
    });
  }

  /** A CONNACK that refuses, in the client's version or another one, then close. */
  refuse(connack: ConnackPacket, version: ProtocolVersion = this.version): void {
    this.outbox.version = version;
    this.outbox.packet(connack);
    this.close(); // [MQTT3-3.2.2-5] [MQTT5-3.2.2-7] [MQTT5-4.13.2-1]
  }

  /** DISCONNECT with a reason where the version has one, then close. */
  disconnect(
    reasonCode: number,
    reasonString?: string,
    { serverReference }: { readonly serverReference?: string | undefined } = {},
  ): void {
    if (this.phase === "closing" || this.phase === "closed") return;
    if (this.version === 5 && this.phase === "open") {
      this.outbox.packet({ // [MQTT5-3.14.2-2]
        type: "disconnect",
        reasonCode,
        ...(this.explains && reasonString !== undefined ? { reasonString } : {}),
        ...(serverReference === undefined ? {} : { serverReference }),
      });
    }
    this.close(); // [MQTT5-3.14.4-2]
  }

  /** Nothing that the client still sends counts. */
  get #isOver(): boolean {
    return this.phase === "leaving" || this.phase === "closing" || this.phase === "closed";
  }

  get #mayProcess(): boolean {
    // [MQTT3-3.14.4-2]
    return (this.phase === "open" || this.phase === "new" || this.phase === "authenticating") && !this.#resting &&
      !this.#isFlooding;
  }

  /** It publishes faster than the log commits, or sends without reading: stop reading it. */
  get #isFlooding(): boolean {
    const { limits, inbound } = this.#context;
    return this.#unacknowledgedBytes >= limits.unacknowledgedMaxBytes ||
      (inbound.bytes >= limits.inboundMaxBytes && this.#unacknowledgedBytes > 0) ||
      this.outbox.queuedBytes > 2 * LIMITS.slowSocketMaxBytes;
  }

  #process(): void {
    if (this.#processing) return;
    this.#processing = true;
    let packets = 0;
    let nowMs: number | undefined; // one look at the clock for all packets of a chunk
    try {
      while (this.#mayProcess) {
        const packet = this.#decoder.next();
        if (packet === undefined) break;
        this.receivedMs = nowMs ??= this.#context.platform.clock.nowMs();
        this.#context.handler.packet(this, packet);
        if (++packets >= LIMITS.packetsPerTurnMax) this.#rest();
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#context.handler.breach(this, error);
    } finally {
      this.receivedPackets += packets;
      this.#processing = false;
    }
  }

  /** The others' turn; the rest of the chunk follows in the next one. */
  #rest(): void {
    this.#resting = true;
    this.#context.platform.afterTurn(() => {
      this.#resting = false;
      this.checkReading();
    });
  }

  #readable(): Promise<void> | undefined {
    if (this.#mayProcess || this.#isOver) return undefined;
    return new Promise((resolve) => this.#resume = resolve);
  }

  #wake(): void {
    if (!this.#mayProcess) return;
    this.#resume?.();
    this.#resume = undefined;
  }

  #drained(): void {
    if (this.phase === "closed") return;
    this.#context.handler.drained(this);
    this.checkReading();
  }
}

/** A PUBLISH that waits behind others, with what it weighs. */
export function parkedBytes(packets: readonly IncomingPacket[]): number {
  return packets.reduce((sum, packet) => sum + packetBytes(packet), 0);
}

/** What holding on to a packet, or to one filter or property of it, costs besides its text. */
const OBJECT_BYTES = 64;

function packetBytes(packet: IncomingPacket): number {
  switch (packet.type) {
    case "publish":
      return publishWeight(packet);
    case "subscribe":
      return packet.subscriptions.reduce(
        (sum, { topicFilter }) => sum + OBJECT_BYTES + topicFilter.length,
        OBJECT_BYTES,
      );
    case "unsubscribe":
      return packet.topicFilters.reduce((sum, topicFilter) => sum + OBJECT_BYTES + topicFilter.length, OBJECT_BYTES);
    default:
      return OBJECT_BYTES;
  }
}

/** What an inbound message weighs in the limits of its connection. */
export function publishWeight(packet: PublishPacket): number {
  const { payload, topicName, properties } = packet;
  const bytes = payload.byteLength + topicName.length + OBJECT_BYTES;
  return properties === undefined ? bytes : bytes + propertiesWeight(properties);
}

function propertiesWeight(properties: MessageProperties): number {
  const { contentType = "", responseTopic = "", correlationData, userProperties } = properties;
  return contentType.length + responseTopic.length + (correlationData?.byteLength ?? 0) +
    (userProperties?.byteLength ?? 0);
}
