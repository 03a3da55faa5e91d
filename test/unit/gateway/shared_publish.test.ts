/** What receivers get of a PUBLISH that they share is what each would get if it were written for it alone. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../support/test.ts";
import { SharedPublishes } from "../../../src/gateway/shared_publish.ts";
import type { Message } from "../../../src/mqtt/message.ts";
import type { ProtocolVersion } from "../../../src/mqtt/packet.ts";
import { publishBytes, type PublishOptions, writePublish } from "../../../src/mqtt/publish_codec.ts";

function message(topicName: string, properties?: Message["properties"]): Message {
  const payload = new Uint8Array([1, 2, 3]);
  return { topicName, payload, qos: 2, retain: true, properties, clientId: "publisher", receivedMs: 0 };
}

const MESSAGES = [
  message("a"),
  message("köpfe/1"),
  message("x".repeat(200), { messageExpirySeconds: 9, contentType: "text/plain" }),
];

interface Receiver {
  readonly message: Message;
  readonly version: ProtocolVersion;
  readonly options: PublishOptions;
}

const packetIds = fc.integer({ min: 1, max: 65_535 });

/** Few values of each field, so that forms come again and differ in a single one. */
const receivers: fc.Arbitrary<Receiver> = fc.record({
  message: fc.constantFrom(...MESSAGES),
  version: fc.constantFrom<ProtocolVersion>(3, 4, 5),
  qos: fc.constantFrom<0 | 1 | 2>(0, 1, 2),
  retain: fc.boolean(),
  dup: fc.boolean(),
  packetId: packetIds,
  topicAlias: fc.option(packetIds, { nil: undefined }),
  omitTopicName: fc.boolean(),
  subscriptionIds: fc.constantFrom(undefined, [1], [1, 300], [2]),
  expirySeconds: fc.constantFrom(undefined, 0, 7),
}).map(
  ({ message: of, version, qos, retain, dup, packetId, topicAlias, omitTopicName, subscriptionIds, expirySeconds }) => {
    const plain = { qos, retain, dup: dup && qos > 0, packetId };
    const options = version !== 5 ? plain : {
      ...plain,
      ...(topicAlias === undefined ? {} : { topicAlias, ...(omitTopicName ? { omitTopicName } : {}) }),
      ...(subscriptionIds === undefined ? {} : { subscriptionIds: [...subscriptionIds] }),
      ...(expirySeconds === undefined ? {} : { messageExpirySeconds: expirySeconds }),
    };
    return { message: of, version, options };
  },
);

/** One flush: everybody's packet is taken, then all are written into one chunk. */
function flushed(publishes: SharedPublishes, all: readonly Receiver[]): Uint8Array {
  const taken = all.map((receiver) => publishes.of(receiver.message, receiver.options, receiver.version));
  const chunk = new Uint8Array(taken.reduce((sum, { bytes }) => sum + bytes, 0));
  let offset = 0;
  for (const [index, shared] of taken.entries()) {
    const { packetId = 0, topicAlias = 0 } = all[index]?.options ?? {};
    offset = shared.write(packetId, topicAlias, chunk, offset);
  }
  assert.equal(offset, chunk.byteLength);
  publishes.forget();
  return chunk;
}

function alone({ message: of, options, version }: Receiver): Uint8Array {
  const bytes = new Uint8Array(publishBytes(of, options, version));
  writePublish(of, options, version, bytes, 0);
  return bytes;
}

test("everybody gets what would have been written for it alone", () => {
  const publishes = new SharedPublishes();
  fc.assert(
    fc.property(fc.array(receivers, { maxLength: 40 }), (all) => {
      assert.deepEqual([...flushed(publishes, all)], all.flatMap((receiver) => [...alone(receiver)]));
    }),
    { numRuns: 300 },
  );
});

test("receivers of one message in one form share it, whatever their packet identifiers", () => {
  const publishes = new SharedPublishes();
  const of = (packetId: number, more: Partial<PublishOptions> = {}): unknown =>
    publishes.of(MESSAGES[0] ?? message("a"), { qos: 1, retain: false, dup: false, packetId, ...more }, 5);
  const first = of(1);
  assert.equal(of(2), first);
  assert.notEqual(of(3, { dup: true }), first);
  assert.equal(of(4), first);
  const introducing = of(5, { topicAlias: 1 });
  assert.notEqual(introducing, first);
  assert.equal(of(6, { topicAlias: 2 }), introducing);
  assert.notEqual(of(7, { topicAlias: 1, omitTopicName: true }), introducing);
});

test("more forms than are kept of a message are written all the same", () => {
  const publishes = new SharedPublishes();
  const all = Array.from({ length: 30 }, (_, index): Receiver => ({
    message: message("many"),
    version: 5,
    options: { qos: 1, retain: false, dup: false, packetId: index + 1, subscriptionIds: [index % 15 + 1] },
  }));
  assert.deepEqual([...flushed(publishes, all)], all.flatMap((receiver) => [...alone(receiver)]));
});
