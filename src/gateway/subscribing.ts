/** SUBSCRIBE and UNSUBSCRIBE: what is granted, and the answer after the commit. Retained messages follow (retained.ts). */
import type { QoS } from "../mqtt/message.ts";
import type { SubscribePacket, SubscriptionRequest, UnsubscribePacket } from "../mqtt/packet.ts";
import { ProtocolError, REASON } from "../mqtt/reason_codes.ts";
import type { Session } from "../mqtt/session.ts";
import { isDeeperThan, parseSharedFilter } from "../mqtt/topics.ts";
import type { Connection } from "./connection.ts";
import type { Delivery } from "./delivery.ts";
import type { Hub } from "./hub.ts";
import type { Retained } from "./retained.ts";
import { isSysFilter, type Sys } from "./sys.ts";
import type { ShareGroups } from "./share_groups.ts";
import { ANSWER_BYTES, whenDurable } from "./when_durable.ts";

/** SUBACK's failure in 3.1.1 (§3.9.3). */
const FAILURE = 0x80;

/** What a filter's entry costs besides its text. */
const FILTER_BYTES = 32;

export class Subscribing {
  readonly #hub: Hub;
  readonly #retained: Retained;
  readonly #delivery: Delivery;
  readonly #sys: Sys;
  readonly #shares: ShareGroups;

  constructor(
    hub: Hub,
    parts: {
      readonly retained: Retained;
      readonly delivery: Delivery;
      readonly sys: Sys;
      readonly shares: ShareGroups;
    },
  ) {
    this.#hub = hub;
    this.#retained = parts.retained;
    this.#delivery = parts.delivery;
    this.#sys = parts.sys;
    this.#shares = parts.shares;
  }

  subscribe(connection: Connection, packet: SubscribePacket): void {
    const { session } = connection;
    if (session === undefined) return;
    const { packetId, subscriptionId } = packet;
    for (const { topicFilter } of packet.subscriptions) this.#checkDepth(topicFilter); // before anything is granted
    const sys: SubscriptionRequest[] = [];
    const shared: string[] = [];
    // [MQTT3-3.8.4-4] [MQTT5-3.8.4-5] [MQTT5-3.8.4-6] [MQTT5-3.9.3-1]
    const reasonCodes = packet.subscriptions.map((asked) => {
      const refusal = this.#refusal(connection, session, asked);
      if (refusal !== undefined) return connection.version === 5 ? refusal : FAILURE; // [MQTT3-3.9.3-2] [MQTT5-3.9.3-2]
      const subscription = this.#granted(asked);
      const { retainHandling, topicFilter, qos } = subscription;
      // [MQTT5-3.3.1-9] [MQTT5-3.3.1-10] [MQTT5-3.3.1-11]
      const isOwed = retainHandling === 0 || (retainHandling === 1 && !session.subscriptions.has(topicFilter));
      const isShared = session.isShared(topicFilter);
      if (isShared) shared.push(topicFilter);
      if (isShared) this.#shares.subscribing(topicFilter);
      const replayRetained = isOwed && !isShared; // a shared subscription gets no retained messages (§4.8.2)
      if (replayRetained && isSysFilter(topicFilter)) sys.push(subscription);
      this.#hub.log.append(
        { type: "subscribed", session: session.number, subscription, subscriptionId, replayRetained },
        { logged: session.durable },
      );
      return qos; // [MQTT3-3.8.4-5] [MQTT3-3.9.3-1] [MQTT5-3.8.4-7] the QoS granted
    });
    const bytes = ANSWER_BYTES +
      packet.subscriptions.reduce((sum, one) => sum + FILTER_BYTES + one.topicFilter.length, 0);
    whenDurable(this.#hub.log, { connection, bytes }, () => {
      // [MQTT3-2.3.1-7] [MQTT3-3.8.4-1] [MQTT3-3.8.4-2] [MQTT5-2.2.1-6] [MQTT5-3.8.4-1] [MQTT5-3.8.4-2]
      connection.outbox.packet({ type: "suback", packetId, reasonCodes });
      this.#retained.replay(session);
      for (const request of sys) this.#sys.subscribed(connection, { request, subscriptionId });
      this.#delivery.pump(connection);
    });
    for (const topicFilter of shared) this.#shares.subscribed(connection, topicFilter);
  }

  unsubscribe(connection: Connection, packet: UnsubscribePacket): void {
    const { session } = connection;
    if (session === undefined) return;
    const { packetId } = packet;
    const reasonCodes = packet.topicFilters.map((topicFilter) => { // [MQTT3-3.10.4-6] [MQTT5-3.10.4-6] [MQTT5-3.11.3-1]
      // [MQTT3-3.10.4-1] [MQTT5-3.10.4-1] [MQTT5-3.11.3-2]
      if (!session.subscriptions.has(topicFilter)) return REASON.noSubscriptionExisted;
      this.#hub.log.append({ type: "unsubscribed", session: session.number, topicFilter }, { logged: session.durable });
      if (session.isShared(topicFilter)) this.#shares.unsubscribed(connection, topicFilter);
      return REASON.success;
    });
    const bytes = ANSWER_BYTES + packet.topicFilters.reduce((sum, filter) => sum + FILTER_BYTES + filter.length, 0);
    whenDurable(this.#hub.log, { connection, bytes }, () => {
      // [MQTT3-2.3.1-7] [MQTT3-3.10.4-4] [MQTT3-3.10.4-5] [MQTT5-2.2.1-6] [MQTT5-3.10.4-4] [MQTT5-3.10.4-5]
      connection.outbox.packet({ type: "unsuback", packetId, reasonCodes });
    });
  }

  /** [MQTT5-3.2.2-10] a subscription is taken with any QoS, and gets what there is. */
  #granted(asked: SubscriptionRequest): SubscriptionRequest {
    const { qosMax } = this.#hub.limits;
    return asked.qos <= qosMax ? asked : { ...asked, qos: qosMax as QoS }; // at most 2, by its range
  }

  #checkDepth(topicFilter: string): void {
    const { filterLevelsMax } = this.#hub.limits;
    if (!isDeeperThan(topicFilter, filterLevelsMax)) return;
    throw new ProtocolError(REASON.malformedPacket, `A topic filter has more than ${filterLevelsMax} levels`);
  }

  #refusal(connection: Connection, session: Session, subscription: SubscriptionRequest): number | undefined {
    const { topicFilter } = subscription;
    const { limits, access, log } = this.#hub;
    const { identity } = connection;
    // Members of a share group get what the inner filter matches.
    const asked = parseSharedFilter(topicFilter)?.topicFilter ?? topicFilter;
    if (!access.allows({ action: "subscribe", identity, clientId: session.clientId, topicFilter: asked })) {
      return REASON.notAuthorized;
    }
    if (session.subscriptions.has(topicFilter)) return undefined;
    const takesRoom = session.durable || this.#shares.begins(topicFilter);
    const tooMany = session.subscriptions.size >= limits.subscriptionsPerSessionMax ||
      log.state.subscriptionCount >= limits.subscriptionsMax || (takesRoom && log.full);
    return tooMany ? REASON.quotaExceeded : undefined;
  }
}
