/**
 * What clients saw, as the checkers need it: messages sent and how they were answered, subscriptions and how long they may
 * or must have held, deliveries. Steps of the simulation are its time. Records; judges nothing.
 */
import type { QoS } from "../support/packets.ts";

export interface Sent {
  /** Unique payload. */
  readonly id: string;
  /** Where it was published: the site, or `kafka`. */
  readonly site: string;
  readonly clientId: string;
  readonly topicName: string;
  readonly qos: QoS;
  readonly retain: boolean;
  /** Empties the retained value of its topic name. */
  readonly clears: boolean;
  /** Number within (publisher, topic name, QoS). */
  readonly order: number;
  readonly sentStep: number;
  readonly sentMs: number;
  /** Seconds for which it may be delivered. */
  readonly expirySeconds: number | undefined;
  /** Acknowledged with success. */
  ackedStep: number | undefined;
  ackedMs: number | undefined;
  /** It is in Kafka to stay, so that it must come to every site that reads it there. Known when the run ends. */
  isInKafka: boolean;
  refused: boolean;
  /** Sent more than once, so that there may be several copies. */
  isResent: boolean;
  /** Its publisher keeps the rules: one that sends PUBREL at will gets its message twice. */
  readonly isHonest: boolean;
}

/** A subscription of one incarnation of a session. */
export interface Interest {
  /** Of a shared subscription the inner one. */
  readonly topicFilter: string;
  /** Others may get what it matches. */
  readonly isShared: boolean;
  readonly qos: QoS;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: 0 | 1 | 2;
  readonly subscriptionId: number | undefined;
  /** SUBSCRIBE was sent: from here on messages may come. */
  readonly sentStep: number;
  /** SUBACK came: from here on they must. */
  sureStep: number;
  /** UNSUBSCRIBE, or a SUBSCRIBE that replaces it, was sent: they need not come any more. */
  unsureStep: number;
  /** UNSUBACK came: they must not. */
  endStep: number;
}

/** One incarnation of a session, as its client sees it. */
export interface Incarnation {
  readonly site: string;
  readonly clientId: string;
  readonly isHonest: boolean;
  readonly sinceStep: number;
  readonly interests: Interest[];
  /** Message id → how often the application got it, by QoS. */
  readonly received: Map<string, [number, number, number]>;
  /** Connections so far, the present one included. */
  connections: number;
  ended: boolean;
}

/** A will, by the payload that is its alone. */
export interface SentWill {
  readonly id: string;
  readonly clientId: string;
  /** What must become of it. */
  due: "must" | "must-not" | "maybe";
}

/** One connection of a client, while it lasts without an UNSUBSCRIBE of the group. */
export interface Stay {
  isOver: boolean;
}

interface Copy {
  readonly qos: QoS;
  readonly incarnation: Incarnation;
  readonly stay: Stay;
}

/** Who got what, by message. */
export class SharedCopies {
  readonly #copies = new Map<string, Copy[]>();
  /** When sessions of members ended that may have had QoS 2 messages. */
  readonly endSteps: number[] = [];
  count = 0;

  add(id: string, copy: Copy): void {
    this.count++;
    const copies = this.#copies.get(id);
    if (copies === undefined) this.#copies.set(id, [copy]);
    else copies.push(copy);
  }

  of(id: string): readonly Copy[] {
    return this.#copies.get(id) ?? [];
  }

  /** Messages that more than one connection got. */
  get moved(): number {
    return [...this.#copies.values()].filter((copies) => new Set(copies.map(({ stay }) => stay)).size > 1).length;
  }
}

export class History {
  readonly site: string;
  readonly sent: Map<string, Sent> = new Map();
  /** Retained topic name → what was sent to it, in order. */
  readonly retained: Map<string, Sent[]> = new Map();
  readonly incarnations: Incarnation[] = [];
  readonly wills: Map<string, SentWill> = new Map();
  readonly willsSeen: Map<string, number> = new Map();
  readonly shared: SharedCopies = new SharedCopies();
  deliveries = 0;
  acknowledged = 0;
  kills = 0;
  resumes = 0;
  takeovers = 0;
  damages = 0;
  /** Clients whose sessions lost something to damage on the disk; and whether nobody knows what else did. */
  readonly shakenIds: Set<string> = new Set();
  isShaken = false;
  /** When that was the last time. */
  shakenStep = -1;
  #order = new Map<string, number>();

  constructor(site: string) {
    this.site = site;
  }

  isShakenFor(clientId: string): boolean {
    return this.isShaken || this.shakenIds.has(clientId);
  }

  nextOrder(clientId: string, topicName: string, qos: QoS): number {
    const key = `${clientId} ${topicName} ${qos}`;
    const order = (this.#order.get(key) ?? 0) + 1;
    this.#order.set(key, order);
    return order;
  }

  addSent(sent: Sent): void {
    this.sent.set(sent.id, sent);
    if (!sent.retain) return;
    const list = this.retained.get(sent.topicName) ?? [];
    list.push(sent);
    this.retained.set(sent.topicName, list);
  }

  begin(clientId: string, options: { readonly step: number; readonly isHonest: boolean }): Incarnation {
    const incarnation: Incarnation = {
      site: this.site,
      clientId,
      isHonest: options.isHonest,
      sinceStep: options.step,
      interests: [],
      received: new Map(),
      connections: 1,
      ended: false,
    };
    this.incarnations.push(incarnation);
    return incarnation;
  }
}

/** Whether a topic filter matches, naively: the oracle of the gateway's tree. */
export function filterMatches(topicFilter: string, topicName: string): boolean {
  const filter = topicFilter.split("/");
  const levels = topicName.split("/");
  if (topicName.startsWith("$") && (filter[0] === "#" || filter[0] === "+")) return false;
  for (const [index, level] of filter.entries()) {
    if (level === "#") return true;
    if (index >= levels.length || (level !== "+" && level !== levels[index])) return false;
  }
  return filter.length === levels.length;
}
