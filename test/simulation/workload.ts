/**
 * What the clients of a simulated site do, drawn from a seed: who there is, what they publish and subscribe to. The first
 * generator draws what all seeds have, the second what newer ones have besides. Knows no faults.
 */
import type { QoS } from "../support/packets.ts";
import type { Profile } from "./client_profile.ts";
import { PLAIN } from "./client_profile.ts";
import type { SimClient } from "./clients.ts";
import { REFUSED, REFUSED_ALWAYS } from "./kafka_side.ts";
import type { Random } from "./random.ts";
import { randomGroup, randomTopicName } from "./shares.ts";

const FILTERS = ["t/#", "t/+", "t/1", "#", "+/2", "t/3", "r/#", "r/+/1"] as const;
const MORE_FILTERS = [
  "e/#",
  "x/#",
  "x/0",
  "r/#",
  "t/#",
  "chat/#",
  "cmd/#",
  "cmd/+",
  "k/+",
  "$SYS/broker/clients/#",
] as const;

export interface WorkloadOptions {
  readonly random: Random;
  readonly hasShares: boolean;
  /** Draws what newer seeds have besides: undefined for the others. */
  readonly more: Random | undefined;
  /** The same for the newest. */
  readonly busy: Random | undefined;
  readonly hasKafka: boolean;
  readonly cleanStart: number;
}

/** Sees every will and message; it is there before all others. */
export function watcherProfile(clientId: string): Profile {
  return {
    clientId,
    version: 5,
    persistent: true,
    isHonest: true,
    neverAcks: false,
    receiveMaximum: 7,
    keepAliveSeconds: 0,
    hasWill: false,
    ...PLAIN,
  };
}

/** Asks for retained messages when all is over. */
export function readerProfile(clientId: string): Profile {
  const usual = watcherProfile(clientId);
  return { ...usual, version: 4, persistent: false, receiveMaximum: 65_535 };
}

export function randomProfile(
  clientId: string,
  { random, more, busy }: Pick<WorkloadOptions, "random" | "more" | "busy">,
): Profile {
  const isHonest = random.chance(0.8);
  const profile: Profile = {
    clientId,
    version: random.pick([4, 5]),
    persistent: random.chance(0.6),
    isHonest,
    neverAcks: !isHonest && random.chance(0.5),
    receiveMaximum: random.pick([1, 3, 20, 65_535]),
    keepAliveSeconds: random.pick([0, 0, 2]),
    hasWill: random.chance(0.5),
    ...PLAIN,
  };
  if (more === undefined) return profile;
  return {
    ...profile,
    willDelaySeconds: more.pick([0, 0, 4]),
    sessionExpirySeconds: more.pick([0xffff_ffff, 0xffff_ffff, 15, ...(busy === undefined ? [] : [2])]),
    hasAliases: profile.version === 5 && more.chance(0.5),
    reusesIdentifiers: more.chance(0.5),
  };
}

export class Workload {
  readonly #options: WorkloadOptions;
  /** What more is done of than of others, so that its own limits are reached. */
  readonly #favourite: string | undefined;

  constructor(options: WorkloadOptions) {
    this.#options = options;
    this.#favourite = options.busy?.pick([undefined, "x/0", "x/1", "$q/1/0", "d/0", "k/0"]);
  }

  /** The watcher stays as it is, so that what it must get is sure. */
  act(client: SimClient, options: { readonly isWatcher: boolean }): void {
    const { random, more, hasShares } = this.#options;
    if (client.isIdle) {
      if (random.chance(0.3)) client.connect({ clean: !options.isWatcher && this.cleans() });
      return;
    }
    if (options.isWatcher) {
      random.float();
      return;
    }
    if (more?.chance(0.4) === true) return this.#more(client, more);
    if (hasShares && random.chance(this.#favourite === "$q/1/0" ? 0.9 : 0.6)) return this.#shares(client);
    const roll = random.float();
    if (roll < 0.7) {
      const qos: QoS = random.pick([0, 1, 1, 2, 2]);
      const retain = random.chance(0.15);
      // One QoS per retained name: a copy of QoS 1 that is sent again may come after a newer one of QoS 2.
      const topicName = retain ? `r/${client.profile.clientId}/${qos}` : `t/${random.below(4)}`;
      client.publish(topicName, qos, { retain, clears: retain && random.chance(0.25) });
    } else if (roll < 0.85) {
      client.subscribe(random.pick(FILTERS), random.pick([0, 1, 2, 2]), { noLocal: random.chance(0.2) });
    } else if (roll < 0.9) this.#unsubscribe(client, random.pick(FILTERS));
    else if (roll < 0.97) client.ping();
    else client.disconnect();
  }

  cleans(): boolean {
    return this.#options.random.chance(this.#options.cleanStart);
  }

  /** Mostly from what it has subscribed to, in the newest seeds. */
  #unsubscribe(client: SimClient, topicFilter: string): void {
    const { busy } = this.#options;
    const own = client.topicFilters;
    client.unsubscribe(own.length > 0 && busy?.chance(0.8) === true ? busy.pick(own) : topicFilter);
  }

  /** What clients do with share groups. */
  #shares(client: SimClient): void {
    const { random } = this.#options;
    const roll = random.float();
    if (roll < 0.6) {
      client.publish(randomTopicName(random), random.pick([0, 1, 1, 2, 2]), { retain: false, clears: false });
      return;
    }
    const { group, qos } = randomGroup(random, client.profile);
    if (roll < 0.92) client.subscribe(group.topicFilter, qos, { noLocal: false });
    else client.unsubscribe(group.topicFilter);
  }

  /** Expiry, exact accounts, options of subscriptions, and what has to do with Kafka. */
  #more(client: SimClient, random: Random): void {
    const roll = random.float();
    const plain = { retain: false, clears: false };
    const qos: QoS = random.pick([1, 2]);
    if (roll < (this.#favourite?.startsWith("x/") === true ? 0.6 : 0.12)) {
      client.publish(`x/${random.below(2)}`, qos, { ...plain, expirySeconds: random.pick([1, 3, 20, 60]) });
    } else if (roll < 0.3 && client.profile.isHonest) client.publish(`e/${random.below(2)}`, 2, plain);
    else if (roll < 0.36) {
      client.publish(`y/${client.profile.clientId}/${qos}`, qos, { retain: true, clears: false });
    } else if (roll < 0.4) client.subscribe("y/#", qos, { noLocal: false, retainAsPublished: true, retainHandling: 1 });
    else if (roll < 0.46) {
      client.subscribe(random.pick(MORE_FILTERS), random.pick([0, 1, 2, 2]), {
        noLocal: false,
        retainAsPublished: random.chance(0.5),
        retainHandling: random.pick([0, 1, 2]),
        hasIdentifier: random.chance(0.5),
      });
    } else if (roll < 0.5) this.#unsubscribe(client, random.pick(MORE_FILTERS));
    else if (roll < 0.53) client.sendAgain();
    else if (this.#options.hasKafka) {
      const any = random.pick(["k/0", "k/1", "d/0", "cap/known/a", "cap/nobody/a", "chat/0", "chat/1", "t/x"]);
      const hasRoute = this.#favourite === "d/0" || this.#favourite === "k/0";
      const topicName = hasRoute && random.chance(0.5) ? this.#favourite : any;
      const mark = random.chance(0.05) ? { mark: random.pick([REFUSED, REFUSED_ALWAYS]) } : {};
      client.publish(topicName, random.pick([0, 1, 2, 2]), { ...plain, ...mark });
    } else client.publish(`t/${random.below(4)}`, qos, plain);
  }
}
