/**
 * Where the retained messages are in the log, by topic name, and how much they are together: limits ask for count and
 * bytes with every retained PUBLISH. Knows nothing of holders, snapshots and limits.
 */
import type { Message } from "../mqtt/message.ts";
import { TopicNameTree } from "../mqtt/retained_tree.ts";
import { utf8Bytes } from "../mqtt/utf8.ts";

/** What a retained message counts in `retainedMaxBytes`: payload and topic name. */
export function retainedBytes(message: Pick<Message, "topicName" | "payload">): number {
  return message.payload.byteLength + utf8Bytes(message.topicName);
}

interface Value {
  readonly position: number;
  readonly bytes: number;
}

export class RetainedValues {
  readonly #values = new TopicNameTree<Value>();
  #bytes = 0;

  get size(): number {
    return this.#values.size;
  }

  /** Of all retained messages together. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Position of the retained message. */
  get(topicName: string): number | undefined {
    return this.#values.get(topicName)?.position;
  }

  /** 0 if there is none. */
  bytesOf(topicName: string): number {
    return this.#values.get(topicName)?.bytes ?? 0;
  }

  /** In place of the one before. */
  set(topicName: string, position: number, bytes: number): void {
    this.#bytes += bytes - this.bytesOf(topicName);
    this.#values.set(topicName, { position, bytes });
  }

  /** False if there is none. */
  delete(topicName: string): boolean {
    this.#bytes -= this.bytesOf(topicName);
    return this.#values.delete(topicName);
  }

  /** As TopicNameTree's, with positions. */
  *matching(topicFilter: string): Generator<[topicName: string, position: number], void, undefined> {
    for (const [topicName, { position }] of this.#values.matching(topicFilter)) yield [topicName, position];
  }

  *entries(): Generator<[topicName: string, position: number], void, undefined> {
    for (const [topicName, { position }] of this.#values.entries()) yield [topicName, position];
  }
}
