/** SUBSCRIBE and UNSUBSCRIBE: what is granted, and the answer after the commit. Retained messages follow (retained.ts). */
import type { SubscribePacket, SubscriptionRequest, UnsubscribePacket } from "../mqtt/packet.ts";
import { ProtocolError, REASON } from "../mqtt/reason_codes.ts";
import type { Session } from "../mqtt/session.ts";
import { isDeeperThan, parseSharedFilter } from "../mqtt/topics.ts";
import type { Connection } from "./connection.ts";
import type { Delivery } from "./delivery.ts";
import type { Hub } from "./hub.ts";
import type { Retained } from "./retained.ts";
import { isSysFilter, type Sys } from "./sys.ts";
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

  constructor(hub: Hub, parts: { readonly retained: Retained; readonly delivery: Delivery; readonly sys: Sys }) {
    this.#hub = hub;
    this.#retained = parts.retained;
    this.#delivery = parts.delivery;
    this.#sys = parts.sys;
  }

  subscribe(connection: Connection, packet: SubscribePacket): void {
    const { session } = connection;
    if (session === undefined) return;
    const { packetId, subscriptionId } = packet;
    for (const { topicFilter } of packet.subscriptions) this.#checkDepth(topicFilter); // before anything is granted
    const sys: SubscriptionRequest[] = [];
    const reasonCodes = packet.subscriptions.map((subscription) => {
      const refusal = this.#refusal(connection, session, subscription);
      if (refusal !== undefined) return connection.version === 5 ? refusal : FAILURE;
      const { retainHandling, topicFilter, qos } = subscription;
      // [MQTT5-3.3.1-9] [MQTT5-3.3.1-10] [MQTT5-3.3.1-11]
      const replayRetained = retainHandling === 0 || (retainHandling === 1 && !session.subscriptions.has(topicFilter));
      if (replayRetained && isSysFilter(topicFilter)) sys.push(subscription);
      this.#hub.log.append(
        { type: "subscribed", session: session.number, subscription, subscriptionId, replayRetained },
        { logged: session.durable },
      );
      return qos; // [MQTT3-3.9.3-1] the QoS granted
    });
    const bytes = ANSWER_BYTES +
      packet.subscriptions.reduce((sum, one) => sum + FILTER_BYTES + one.topicFilter.length, 0);
    whenDurable(this.#hub.log, { connection, bytes }, () => {
      connection.outbox.packet({ type: "suback", packetId, reasonCodes });
      this.#retained.replay(session);
      for (const request of sys) this.#sys.subscribed(connection, { request, subscriptionId });
      this.#delivery.pump(connection);
    });
  }

  unsubscribe(connection: Connection, packet: UnsubscribePacket): void {
    const { session } = connection;
    if (session === undefined) return;
    const { packetId } = packet;
    const reasonCodes = packet.topicFilters.map((topicFilter) => {
      if (!session.subscriptions.has(topicFilter)) return REASON.noSubscriptionExisted;
      this.#hub.log.append({ type: "unsubscribed", session: session.number, topicFilter }, { logged: session.durable });
      return REASON.success;
    });
    const bytes = ANSWER_BYTES + packet.topicFilters.reduce((sum, filter) => sum + FILTER_BYTES + filter.length, 0);
    whenDurable(this.#hub.log, { connection, bytes }, () => {
      connection.outbox.packet({ type: "unsuback", packetId, reasonCodes });
    });
  }

  #checkDepth(topicFilter: string): void {
    const { filterLevelsMax } = this.#hub.limits;
    if (!isDeeperThan(topicFilter, filterLevelsMax)) return;
    throw new ProtocolError(REASON.malformedPacket, `A topic filter has more than ${filterLevelsMax} levels`);
  }

  #refusal(connection: Connection, session: Session, subscription: SubscriptionRequest): number | undefined {
    const { topicFilter } = subscription;
    const { limits, access, log } = this.#hub;
    if (parseSharedFilter(topicFilter) !== undefined) return REASON.sharedSubscriptionsNotSupported;
    const { identity } = connection;
    if (!access.allows({ action: "subscribe", identity, clientId: session.clientId, topicFilter })) {
      return REASON.notAuthorized;
    }
    if (session.subscriptions.has(topicFilter)) return undefined;
    const tooMany = session.subscriptions.size >= limits.subscriptionsPerSessionMax ||
      log.state.subscriptions.size >= limits.subscriptionsMax || (session.durable && log.full);
    return tooMany ? REASON.quotaExceeded : undefined;
  }
}
