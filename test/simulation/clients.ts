/**
 * A simulated MQTT client with its own Session State: sends, re-sends with DUP, acknowledges late or never, remembers in
 * the history what it saw, and asks the checkers at every delivery. Never decides when: the simulation does.
 */
import { Buffer } from "node:buffer";
import mqttPacket from "mqtt-packet";
import type { Packet } from "mqtt-packet";
import { LIMITS } from "../../src/limits.ts";
import { publish, subscribe } from "../support/packets.ts";
import type { QoS } from "../support/packets.ts";
import {
  BrokenPromise,
  dupOnlyOnResend,
  expiryHonoured,
  identifiersFit,
  InOrder,
  nothingInvented,
  onlyOneConnection,
  onlyWhatWasAsked,
  repeatsHaveDup,
  sessionPresentIff,
  withinWindow,
} from "./checkers.ts";
import type { Delivered } from "./checkers.ts";
import type { ClientWorld, Profile, PublishAbout, SubscribeAbout } from "./client_profile.ts";
import { connectOf } from "./client_profile.ts";
import type { Incarnation, Interest, Sent, Stay } from "./history.ts";
import { filterMatches } from "./history.ts";
import { innerFilter, isOfGroup, nothingNewAfterLeaving } from "./shares.ts";
import { SimAliases } from "./sim_aliases.ts";
import { SimTransport } from "./sim_transport.ts";

type Incoming<Cmd extends Packet["cmd"]> = Extract<Packet, { cmd: Cmd }>;

interface Outgoing {
  readonly packetId: number;
  readonly sent: Sent;
  state: "publish" | "pubrel";
  connections: number;
}

const OUTGOING_MAX = 10;
const PACKET_IDS = 40;
/** Timers are coarse, and so are seconds that are rounded. */
const SLACK_MS = 2_500;

export class SimClient {
  readonly profile: Profile;
  readonly #world: ClientWorld;
  #transport: SimTransport | undefined;
  #parser: ReturnType<typeof mqttPacket.parser> | undefined;
  isConnected = false;
  #isLeaving = false;
  #incarnation: Incarnation | undefined;
  #order: InOrder;
  #outgoing: Outgoing[] = [];
  readonly #inFlight = new Set<number>();
  /** What the present session was sent and did not acknowledge, by packet identifier: also on older connections. */
  readonly #unacknowledged = new Map<number, string>();
  /** QoS 2 messages taken and not released, by packet identifier. */
  readonly #taken = new Map<number, string>();
  #acks: Packet[] = [];
  readonly #requests = new Map<number, (reasonCodes: readonly number[]) => void>();
  /** Whether the gateway has a session of ours. */
  #stored: "yes" | "no" | "maybe" = "no";
  #mustClean = false;
  /** Of the present connection. */
  #isPersistent = true;
  #will: string | undefined;
  /** What it got of share groups on the present connection belongs to this; by inner filter. */
  readonly #stays = new Map<string, Stay>();
  /** Inner filters of groups that it left on the present connection. */
  readonly #left = new Set<string>();
  #numbers = 0;
  #packetId = 0;
  readonly #aliases: SimAliases;
  #subscriptionId = 0;
  #connectedMs = 0;
  #awaySinceMs = 0;
  /** The gateway knew at once that it was away, after so many kills; and it has tried so often to come back. */
  #wasHeard = false;
  #kills = 0;
  #attempts = 0;
  /** Connections that it has left behind and that the gateway may still hold. */
  #older: SimTransport[] = [];
  /** When the connection was lost, and how the will of it stands. */
  #lost: { readonly atMs: number; readonly will: string | undefined; readonly graceMs: number } | undefined;
  /** Values of retained messages got with RETAIN set, for the last check. */
  readonly retainedSeen: Map<string, string> = new Map();

  constructor(world: ClientWorld, profile: Profile) {
    this.#world = world;
    this.profile = profile;
    this.#order = new InOrder(world);
    this.#aliases = new SimAliases(profile);
  }

  get transport(): SimTransport | undefined {
    return this.#transport;
  }

  get isIdle(): boolean {
    return this.#transport === undefined;
  }

  /** What it has subscribed to and not asked to end; shared subscriptions aside. */
  get topicFilters(): readonly string[] {
    const interests = this.#incarnation?.interests ?? [];
    return interests.filter(({ isShared, unsureStep, endStep }) =>
      !isShared && Math.min(unsureStep, endStep) === Infinity
    )
      .map(({ topicFilter }) => topicFilter);
  }

  get hasAcks(): boolean {
    return this.#acks.length > 0;
  }

  /** Opens a connection and sends CONNECT; an older connection is left half-open, so that the new one takes over. */
  connect(options: { readonly clean: boolean }): void {
    const { profile } = this;
    if (this.#transport !== undefined) {
      this.#world.history.takeovers++;
      this.#lose({ gatewayHears: false });
    }
    const clean = options.clean || !profile.persistent || this.#mustClean;
    const transport = new SimTransport({
      bytes: (chunk) => this.#bytes(transport, chunk),
      over: () => this.#over(transport),
    });
    if (!this.#world.attach(transport)) return;
    this.#older = this.#older.filter((older) => !older.isClosedByGateway);
    this.#transport = transport;
    this.#connectedMs = this.#world.nowMs();
    this.#attempts++;
    this.#isPersistent = profile.persistent;
    const parser = mqttPacket.parser({ protocolVersion: profile.version });
    this.#parser = parser;
    parser.on("packet", (packet: Packet) => this.#packet(packet, clean));
    parser.on("error", (error: Error) => {
      throw new BrokenPromise(`The gateway sent ${profile.clientId} what is no packet: ${error.message}`);
    });
    if (clean) {
      this.#forget();
      this.#mustClean = profile.persistent;
    } else if (this.#stored === "no") this.#stored = "maybe";
    // Of a session that expired, and was made anew by a CONNECT without an answer, it would not know.
    else if (this.#expected() !== "yes") this.#mustClean = profile.persistent;
    const connect = this.#connectPacket(clean);
    this.#world.trace.add(
      `${this.#world.step()} ${profile.clientId} > connect ${clean ? "clean " : ""}${this.#will ?? ""}`,
    );
    this.#send(connect);
  }

  #connectPacket(clean: boolean): Packet {
    const { profile } = this;
    if (profile.hasWill) {
      this.#will = `w-${profile.clientId}-${++this.#numbers}`;
      this.#world.history.wills.set(this.#will, { id: this.#will, clientId: profile.clientId, due: "maybe" });
    }
    return connectOf(profile, { clean, will: this.#will });
  }

  /** A clean start: nothing of the old session counts any more. */
  #forget(): void {
    if (this.#incarnation !== undefined) {
      this.#incarnation.ended = true;
      const isMember = this.#incarnation.interests.some(({ isShared }) => isShared);
      if (isMember) this.#world.history.shared.endSteps.push(this.#world.step());
    }
    this.#incarnation = undefined;
    this.#outgoing = [];
    this.#taken.clear();
    this.#unacknowledged.clear();
  }

  publish(topicName: string, qos: QoS, about: PublishAbout): void {
    if (!this.isConnected || (qos > 0 && this.#outgoing.length >= OUTGOING_MAX)) return;
    const { history } = this.#world;
    const { clientId } = this.profile;
    const sent: Sent = {
      id: `${clientId}-${++this.#numbers}${about.mark ?? ""}`,
      site: this.#world.site,
      clientId,
      topicName,
      qos,
      retain: about.retain,
      clears: about.clears,
      sentMs: this.#world.nowMs(),
      expirySeconds: this.profile.version === 5 ? about.expirySeconds : undefined,
      order: history.nextOrder(clientId, topicName, qos),
      sentStep: this.#world.step(),
      ackedStep: undefined,
      ackedMs: undefined,
      isInKafka: false,
      refused: false,
      isResent: false,
      isHonest: this.profile.isHonest,
    };
    history.addSent(sent);
    this.#world.published(sent);
    if (qos === 0) return this.#sendMessage(sent, 0, false);
    const outgoing: Outgoing = { packetId: this.#freePacketId(), sent, state: "publish", connections: 1 };
    this.#outgoing.push(outgoing);
    this.#sendMessage(sent, outgoing.packetId, false);
  }

  #sendMessage(sent: Sent, packetId: number, dup: boolean): void {
    const { topicName, qos, retain, clears, id } = sent;
    this.#world.trace.add(
      `${this.#world.step()} ${this.profile.clientId} > ${topicName}=${id} q${qos} ${packetId}${dup ? " dup" : ""}`,
    );
    const { expirySeconds } = sent;
    const alias = this.#aliases.outgoing(topicName);
    const properties = {
      ...(expirySeconds === undefined ? {} : { messageExpiryInterval: expirySeconds }),
      ...(alias === undefined ? {} : { topicAlias: alias.number }),
    };
    const fields = { retain, dup, ...(this.profile.version === 5 ? { properties } : {}) };
    this.#send(publish(alias?.isKnown === true ? "" : topicName, qos, packetId, clears ? "" : id, fields));
  }

  /** 3.1.1 lets a client send again whenever it likes. */
  sendAgain(): void {
    const outgoing = this.#outgoing.find(({ state, sent }) => state === "publish" && sent.qos === 2);
    // A late answer to the second copy would be taken for one to the identifier's next message.
    const { version, reusesIdentifiers } = this.profile;
    if (!this.isConnected || version === 5 || reusesIdentifiers || outgoing === undefined) return;
    outgoing.sent.isResent = true;
    this.#sendMessage(outgoing.sent, outgoing.packetId, true);
  }

  #freePacketId(): number {
    if (this.profile.reusesIdentifiers) this.#packetId = 0;
    do this.#packetId = (this.#packetId % PACKET_IDS) + 1; while (
      this.#outgoing.some(({ packetId }) => packetId === this.#packetId) || this.#requests.has(this.#packetId)
    );
    return this.#packetId;
  }

  subscribe(topicFilter: string, qos: QoS, options: SubscribeAbout): void {
    const incarnation = this.#incarnation;
    if (!this.isConnected || incarnation === undefined || this.#requests.size > 3) return;
    const sentStep = this.#world.step();
    const inner = innerFilter(topicFilter);
    this.#left.delete(inner);
    const older = incarnation.interests.filter((other) => other.topicFilter === inner);
    for (const other of older) other.unsureStep = Math.min(other.unsureStep, sentStep);
    const isShared = inner !== topicFilter;
    const is5 = this.profile.version === 5;
    const noLocal = options.noLocal && is5 && !isShared;
    const retainAsPublished = is5 && options.retainAsPublished === true;
    const retainHandling = is5 ? options.retainHandling ?? 0 : 0;
    const subscriptionId = is5 && options.hasIdentifier === true ? ++this.#subscriptionId : undefined;
    const forever = { sureStep: Infinity, unsureStep: Infinity, endStep: Infinity };
    const how = { noLocal, retainAsPublished, retainHandling, subscriptionId };
    const interest: Interest = { topicFilter: inner, isShared, qos, ...how, sentStep, ...forever };
    incarnation.interests.push(interest);
    const messageId = this.#freePacketId();
    this.#requests.set(messageId, ([reasonCode]) => {
      const step = this.#world.step();
      if ((reasonCode ?? 0x80) >= 0x80) interest.endStep = step;
      else {
        interest.sureStep = step;
        for (const other of older) other.endStep = Math.min(other.endStep, step);
      }
    });
    const fields = is5 ? { nl: noLocal, rap: retainAsPublished, rh: retainHandling } : {};
    const identifier = subscriptionId === undefined ? {} : { subscriptionId };
    this.#send(subscribe(topicFilter, qos, { messageId, ...fields, ...identifier }));
  }

  unsubscribe(topicFilter: string): void {
    const incarnation = this.#incarnation;
    if (!this.isConnected || incarnation === undefined || this.#requests.size > 3) return;
    const step = this.#world.step();
    const inner = innerFilter(topicFilter);
    const interests = incarnation.interests.filter((interest) => interest.topicFilter === inner);
    this.#endStay(inner);
    for (const interest of interests) interest.unsureStep = Math.min(interest.unsureStep, step);
    const messageId = this.#freePacketId();
    this.#requests.set(messageId, () => {
      for (const interest of interests) interest.endStep = Math.min(interest.endStep, this.#world.step());
      const isBack = incarnation.interests.some(({ topicFilter: other, endStep }) =>
        other === inner && endStep === Infinity
      );
      if (inner !== topicFilter && !isBack) this.#left.add(inner);
    });
    this.#send({ cmd: "unsubscribe", messageId, unsubscriptions: [topicFilter] });
  }

  /** Sends the oldest owed acknowledgements, in order. */
  acknowledge(count: number): void {
    if (this.profile.neverAcks) return;
    for (const ack of this.#acks.splice(0, count)) {
      if (ack.cmd === "puback" || ack.cmd === "pubcomp") this.#inFlight.delete(ack.messageId ?? 0);
      this.#unacknowledged.delete(ack.messageId ?? 0);
      this.#send(ack);
    }
  }

  ping(): void {
    if (this.isConnected) this.#send({ cmd: "pingreq" });
  }

  /** Anything at all. */
  sendRaw(bytes: Uint8Array): void {
    this.#transport?.send(bytes);
  }

  disconnect(): void {
    if (!this.isConnected || this.#transport?.isHalfClosed === true) return;
    this.#send({ cmd: "disconnect" });
    this.#isLeaving = true;
    this.isConnected = false;
  }

  cut(options: { readonly gatewayHears: boolean }): void {
    this.#lose(options);
  }

  /** The gateway was killed: whether its wills are void depends on who is back in time. */
  gatewayDied(): void {
    if (this.#transport !== undefined) this.#ended("maybe");
  }

  /** The gateway runs again, and had lost nothing: wills of who is not back in time are due. */
  graceBegins(): void {
    if (this.#lost !== undefined) {
      this.#lost = { ...this.#lost, atMs: this.#world.nowMs(), graceMs: LIMITS.willGraceMs };
    }
  }

  /** Its session may be gone, or lack something: it begins anew, and is owed nothing of what was. */
  stateIsLost(): void {
    this.#forget();
    this.#mustClean = this.profile.persistent;
    if (this.#stored === "yes") this.#stored = "maybe";
  }

  #lose(options: { readonly gatewayHears: boolean }): void {
    const transport = this.#transport;
    if (transport === undefined) return;
    // One whose CONNECT may not have arrived is nobody's.
    if (this.isConnected) this.#older.push(transport);
    // A will that waits is void if its session goes on before the gateway notices.
    const isUnsure = this.#isLeaving || (!options.gatewayHears && this.profile.willDelaySeconds > 0);
    transport.cut(options);
    this.#ended(this.isConnected && !isUnsure ? "must" : "maybe");
  }

  #over(transport: SimTransport): void {
    if (transport !== this.#transport) return;
    // It may have been too late with its DISCONNECT, or broken a rule.
    const { isHonest, keepAliveSeconds } = this.profile;
    const left = isHonest && keepAliveSeconds === 0 ? "must-not" : "maybe";
    this.#ended(this.#isLeaving ? left : this.isConnected ? "must" : "maybe");
  }

  #ended(due: "must" | "must-not" | "maybe"): void {
    // What one that breaks the rules sends may be a DISCONNECT.
    const willDue = this.profile.isHonest ? due : "maybe";
    const step = this.#world.step();
    this.#world.trace.add(`${step} ${this.profile.clientId} is off${this.#will ? `, ${this.#will} ${willDue}` : ""}`);
    if (this.#will !== undefined) {
      this.#world.history.wills.set(this.#will, { id: this.#will, clientId: this.profile.clientId, due: willDue });
    }
    this.#lost = { atMs: this.#world.nowMs(), will: this.#will, graceMs: 0 };
    if (this.isConnected) {
      this.#awaySinceMs = this.#world.nowMs();
      this.#kills = this.#world.history.kills;
      this.#attempts = 0;
      this.#wasHeard = this.#transport?.isClosedByGateway === true;
    }
    this.#will = undefined;
    this.#aliases.clear();
    this.#transport = undefined;
    this.#parser = undefined;
    this.isConnected = false;
    this.#isLeaving = false;
    this.#acks = [];
    for (const inner of this.#stays.keys()) this.#endStay(inner);
    this.#left.clear();
    this.#inFlight.clear();
    this.#requests.clear();
    if (this.#isPersistent) return;
    // The session ended with the connection.
    this.#stored = "no";
    this.#forget();
  }

  /** The next copies belong to another stay: its group may have given these to others. */
  #endStay(inner: string): void {
    const stay = this.#stays.get(inner);
    if (stay !== undefined) stay.isOver = true;
    this.#stays.delete(inner);
  }

  #send(packet: Packet): void {
    // A plain array: a Buffer would be another class to the gateway.
    const bytes = mqttPacket.generate(packet, { protocolVersion: this.profile.version });
    this.#transport?.send(new Uint8Array(bytes));
  }

  #bytes(transport: SimTransport, chunk: Uint8Array): void {
    if (transport === this.#transport) this.#parser?.parse(Buffer.from(chunk));
  }

  #packet(packet: Packet, clean: boolean): void {
    if (packet.cmd === "pingresp") return;
    const { trace, step } = { trace: this.#world.trace, step: this.#world.step() };
    const text = packet.cmd === "publish" ? ` ${packet.topic}=${packet.payload.toString()} q${packet.qos}` : "";
    trace.add(`${step} ${this.profile.clientId} < ${packet.cmd} ${packet.messageId ?? ""}${text}`);
    switch (packet.cmd) {
      case "connack":
        return this.#connack(packet, clean);
      case "publish":
        return this.#delivered(packet);
      case "puback":
      case "pubrec":
        return this.#acknowledged(packet);
      case "pubrel":
        this.#taken.delete(packet.messageId ?? 0);
        this.#acks.push({ cmd: "pubcomp", messageId: packet.messageId ?? 0 });
        return;
      case "pubcomp":
        // One that answers a PUBREL out of thin air does not end an exchange that has not come so far.
        this.#outgoing = this.#outgoing.filter(({ packetId, state }) =>
          packetId !== packet.messageId || state === "publish"
        );
        return;
      case "suback":
      case "unsuback": {
        const answered = this.#requests.get(packet.messageId ?? 0);
        this.#requests.delete(packet.messageId ?? 0);
        // The codes of SUBACK are numbers, whatever the library's types allow.
        answered?.(packet.cmd === "suback" ? packet.granted as number[] : []);
        return;
      }
      default:
        return;
    }
  }

  #connack(packet: Incoming<"connack">, clean: boolean): void {
    const { profile } = this;
    if ((profile.version === 5 ? packet.reasonCode : packet.returnCode) !== 0) return; // FIN follows
    const { history } = this.#world;
    if (profile.isHonest) {
      sessionPresentIff(clean ? "no" : this.#expected(), packet.sessionPresent, profile.clientId);
      onlyOneConnection(profile.clientId, this.#older.some((older) => !older.isClosedByGateway));
    }
    this.#aliases.outgoingMax = packet.properties?.topicAliasMaximum ?? 0;
    this.#backInTime();
    this.isConnected = true;
    // A 3.1.1 client that asks for a clean session gets one that ends with this connection.
    this.#isPersistent = profile.persistent && (profile.version === 5 || !clean);
    this.#stored = this.#isPersistent ? "yes" : "no";
    this.#mustClean = false;
    if (packet.sessionPresent) {
      history.resumes++;
      const step = this.#world.step();
      this.#incarnation ??= history.begin(profile.clientId, { step, isHonest: profile.isHonest });
      this.#incarnation.connections++;
      return this.#resend();
    }
    this.#forget();
    this.#order = new InOrder(this.#world);
    this.#incarnation = history.begin(profile.clientId, { step: this.#world.step(), isHonest: profile.isHonest });
  }

  /** Whether there must be a session: one may have expired meanwhile. */
  #expected(): "yes" | "no" | "maybe" {
    const { sessionExpirySeconds, version } = this.profile;
    if (this.#stored !== "yes" || version !== 5 || sessionExpirySeconds === 0xffff_ffff) return this.#stored;
    const awayMs = this.#world.nowMs() - this.#awaySinceMs;
    if (!this.#world.isPunctual) return "maybe";
    const expiryMs = sessionExpirySeconds * 1_000;
    if (awayMs < expiryMs - SLACK_MS) return "yes";
    // The gateway may have noticed later that it was away, or restarted, which counts from there.
    const isSure = this.#attempts === 1 && this.#wasHeard && this.#kills === this.#world.history.kills;
    return isSure && this.#connectedMs - this.#awaySinceMs > expiryMs + SLACK_MS ? "no" : "maybe";
  }

  /** A will that waits is void when its client is back before the delay is over. */
  #backInTime(): void {
    const { atMs, will, graceMs } = this.#lost ?? { atMs: 0, will: undefined, graceMs: 0 };
    const known = will === undefined ? undefined : this.#world.history.wills.get(will);
    const { willDelaySeconds, sessionExpirySeconds } = this.profile;
    if (known === undefined || willDelaySeconds + graceMs === 0 || known.due !== "must") return;
    // Its CONNECT may have been heard at once.
    const awayMs = this.#connectedMs - atMs;
    const delayMs = Math.min(willDelaySeconds, sessionExpirySeconds) * 1_000;
    const isSeen = this.#world.history.willsSeen.has(known.id);
    if (!isSeen && awayMs < delayMs + graceMs + SLACK_MS) {
      this.#world.history.wills.set(known.id, { ...known, due: "maybe" });
    }
  }

  #shared(incarnation: Incarnation, delivered: Delivered): void {
    const { clientId, isHonest } = this.profile;
    if (isHonest) nothingNewAfterLeaving(this.#left, delivered, clientId);
    const inner = incarnation.interests.find(({ topicFilter }) => filterMatches(topicFilter, delivered.topicName))
      ?.topicFilter ?? "";
    const stay = this.#stays.get(inner) ?? { isOver: false };
    this.#stays.set(inner, stay);
    this.#world.history.shared.add(delivered.id, { qos: delivered.qos, incarnation, stay });
  }

  /** [MQTT5-4.4.0-1] in order, with their packet identifiers. */
  #resend(): void {
    for (const outgoing of this.#outgoing) {
      outgoing.connections++;
      outgoing.sent.isResent = true;
      if (outgoing.state === "pubrel") this.#send({ cmd: "pubrel", messageId: outgoing.packetId });
      else this.#sendMessage(outgoing.sent, outgoing.packetId, true);
    }
  }

  #acknowledged(packet: Incoming<"puback"> | Incoming<"pubrec">): void {
    const outgoing = this.#outgoing.find(({ packetId }) => packetId === packet.messageId);
    // To one that breaks the rules an answer may come late, and be that to the identifier's older message.
    if (outgoing === undefined || (packet.cmd === "puback") !== (outgoing.sent.qos === 1)) return;
    const { sent } = outgoing;
    const isRefused = (packet.reasonCode ?? 0) >= 0x80;
    // 0x83 may come from Kafka, long after the message was delivered here.
    if (isRefused) sent.refused = outgoing.connections === 1 && packet.reasonCode !== 0x83;
    else if (sent.ackedStep === undefined) {
      sent.ackedStep = this.#world.step();
      sent.ackedMs = this.#world.nowMs();
      this.#world.acknowledged(sent);
      this.#world.history.acknowledged++;
    }
    if (packet.cmd === "pubrec" && !isRefused) {
      outgoing.state = "pubrel";
      this.#send({ cmd: "pubrel", messageId: outgoing.packetId });
      return;
    }
    this.#outgoing = this.#outgoing.filter((other) => other !== outgoing);
  }

  #delivered(packet: Incoming<"publish">): void {
    const { history } = this.#world;
    const { clientId, isHonest, receiveMaximum } = this.profile;
    const identifiers = packet.properties?.subscriptionIdentifier;
    const delivered: Delivered = {
      topicName: this.#aliases.incoming(packet.topic, packet.properties?.topicAlias),
      id: packet.payload.toString(),
      qos: packet.qos,
      dup: packet.dup,
      retain: packet.retain,
      packetId: packet.messageId ?? 0,
      version: this.profile.version,
      expirySeconds: packet.properties?.messageExpiryInterval,
      subscriptionIds: identifiers === undefined ? [] : [identifiers].flat(),
    };
    if (delivered.qos > 0) {
      // 3.1.1 has no Receive Maximum.
      const maximum = this.profile.version === 5 ? receiveMaximum : Infinity;
      // One that acknowledges at random does not know itself what is in flight.
      if (isHonest) withinWindow(clientId, { inFlight: this.#inFlight, receiveMaximum: maximum }, delivered.packetId);
      if (isHonest) repeatsHaveDup(clientId, delivered, this.#unacknowledged.get(delivered.packetId));
      this.#unacknowledged.set(delivered.packetId, delivered.id);
      this.#inFlight.add(delivered.packetId);
      this.#acks.push({ cmd: delivered.qos === 1 ? "puback" : "pubrec", messageId: delivered.packetId });
    }
    if (delivered.qos === 2) {
      const taken = this.#taken.get(delivered.packetId);
      if (taken === delivered.id) return; // known
      if (taken !== undefined && isHonest) {
        throw new BrokenPromise(`${clientId} got ${delivered.id} under the identifier of ${taken}`);
      }
      this.#taken.set(delivered.packetId, delivered.id);
    }
    history.deliveries++;
    if (delivered.retain) this.retainedSeen.set(delivered.topicName, delivered.id);
    if (delivered.topicName.startsWith("will/")) {
      if (clientId.startsWith("watcher")) {
        history.willsSeen.set(delivered.id, (history.willsSeen.get(delivered.id) ?? 0) + 1);
      }
      return;
    }
    if (delivered.id === "" || this.#incarnation === undefined || delivered.topicName.startsWith("$SYS/")) return;
    const sent = history.sent.get(delivered.id);
    nothingInvented(sent, delivered, clientId);
    onlyWhatWasAsked(this.#incarnation, sent, delivered);
    identifiersFit(this.#incarnation, sent, delivered);
    if (this.#world.isPunctual) {
      expiryHonoured(sent, delivered, { nowMs: this.#world.nowMs(), sinceMs: this.#connectedMs });
    }
    dupOnlyOnResend(this.#incarnation, delivered);
    if (isOfGroup(sent.topicName)) this.#shared(this.#incarnation, delivered);
    else this.#order.check(this.#incarnation, sent, delivered);
    const counts = this.#incarnation.received.get(sent.id) ?? [0, 0, 0];
    counts[delivered.qos]++;
    this.#incarnation.received.set(sent.id, counts);
  }
}
