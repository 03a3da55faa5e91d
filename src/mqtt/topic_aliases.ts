/**
 * The topic aliases that the gateway uses towards one client on one connection (MQTT 5 §3.3.2.3.4); they end with it
 * [MQTT5-3.3.2-7]. Knows names and numbers; which packet carries them is the outbox's business.
 */
export class TopicAliases {
  readonly #max: number;
  readonly #aliasOf = new Map<string, number>();

  /** `max`: at least 1, at most the client's Topic Alias Maximum [MQTT5-3.1.2-26] [MQTT5-3.3.2-11]. */
  constructor(max: number) {
    this.#max = max;
  }

  /** What the client knows the topic name by; undefined: nothing yet. */
  known(topicName: string): number | undefined {
    return this.#aliasOf.get(topicName);
  }

  /**
   * All are taken. They stay with their names: a client that gets more names in turn than it has aliases would see every
   * one of them exchanged before it is used, at three bytes a message more than without aliases.
   */
  get isFull(): boolean {
    return this.#aliasOf.size >= this.#max;
  }

  /** The next alias, from 1 on [MQTT5-3.3.2-8], for a name that has none; not if all are taken. */
  introduce(topicName: string): number {
    const alias = this.#aliasOf.size + 1;
    this.#aliasOf.set(topicName, alias);
    return alias;
  }
}
