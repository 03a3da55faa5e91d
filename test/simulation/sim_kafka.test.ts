/**
 * What the simulated Kafka does beyond the contract, where the bugs are: late and lost markers, time-outs, zombies,
 * losses.
 */
import assert from "node:assert/strict";
import { TributaryError } from "../../src/errors.ts";
import { test } from "../support/test.ts";
import { OPTIONS, record, texts, TIMEOUT_MS, World } from "./kafka_world.ts";
import { settle } from "./virtual_clock.ts";

const decoder = new TextDecoder();

test("a commit is acknowledged before its markers, and readers see nothing until they are there", async () => {
  const world = new World();
  const { transactions } = world.kafka;
  const producer = await world.producer();
  transactions.markers.held = true;
  await world.run(producer.transact([record("t", "a")], OPTIONS));
  const before = await world.fetch(0);
  assert.deepEqual([before.batches.length, before.lastStableOffset, before.highWatermark], [0, 0, 1]);
  const next = producer.transact([record("t", "b")], OPTIONS);
  await world.clock.advanceSettling(500);
  assert.equal(world.kafka.partition("t", 0).endOffset, 1, "the next transaction waits for the markers");
  transactions.markers.held = false;
  transactions.release();
  await world.run(next);
  await world.clock.advanceSettling(10);
  assert.deepEqual(await world.read(), ["a", "b"]);
});

test("a transaction that is left open times out, holds up readers until then, and its producer is fenced", async () => {
  const world = new World();
  const [slow, other] = [await world.producer("slow", "a"), await world.producer("other", "b")];
  world.kafka.link("a").fate = (kind) => kind === "end-transaction" ? { requestDelayMs: 2 * TIMEOUT_MS } : undefined;
  const late = slow.transact([record("t", "late")], OPTIONS);
  await settle();
  await world.run(other.transact([record("t", "held up")], OPTIONS));
  await world.clock.advanceSettling(TIMEOUT_MS - 100);
  assert.deepEqual(await world.read(), []);
  await world.clock.advanceSettling(200);
  assert.deepEqual(await world.read(), ["held up"]);
  await world.rejects("kafka.fenced", late);
  assert.deepEqual(texts(world.kafka.partition("t", 0).recordsOf("aborted")), ["late"]);
});

test("a zombie's data that arrives before the abort marker is covered by it, after it is refused", async () => {
  for (const delayMs of [1, 50]) {
    const world = new World();
    const zombie = await world.producer("tx", "old");
    world.kafka.transactions.markers.delayMs = () => 20;
    world.kafka.link("old").fate = (kind) => kind === "produce" ? { requestDelayMs: delayMs } : undefined;
    const sent = zombie.transact([record("t", "zombie")], OPTIONS);
    const rejected = assert.rejects(sent, (error) => error instanceof TributaryError && error.code === "kafka.fenced");
    await settle();
    const heir = await world.producer("tx", "new");
    await world.run(heir.transact([record("t", "heir")], OPTIONS));
    await world.clock.advanceSettling(100);
    await rejected;
    assert.deepEqual(await world.read(), ["heir"]);
    assert.equal(world.kafka.partition("t", 0).recordsOf("aborted").length, delayMs === 1 ? 1 : 0);
  }
});

test("the end that a dead process had sent still arrives, and nobody in it goes on", async () => {
  const world = new World();
  const producer = await world.producer();
  world.kafka.link("site").latencyMs = 5;
  let wentOn = false;
  const ended = world.kafka.link("site").requestCounts;
  const sent = producer.transact([record("t", "a")], OPTIONS).finally(() => {
    wentOn = true;
  });
  void sent;
  while ((ended.get("end-transaction") ?? 0) === 0) {
    await settle();
    world.clock.advance(1);
  }
  world.kafka.killClients("site");
  await world.clock.advanceSettling(100);
  assert.deepEqual(await world.read(), ["a"]);
  assert.equal(wentOn, false);
});

test("a process that dies before the end leaves a transaction that its heir aborts", async () => {
  const world = new World();
  const producer = await world.producer();
  world.kafka.link("site").latencyMs = 5;
  void producer.transact([record("t", "a")], OPTIONS);
  while ((world.kafka.link("site").requestCounts.get("produce") ?? 0) === 0) {
    await settle();
    world.clock.advance(1);
  }
  world.kafka.killClients("site");
  await world.clock.advanceSettling(50);
  assert.deepEqual(texts(world.kafka.partition("t", 0).recordsOf("open")), ["a"]);
  const heir = await world.producer();
  await world.run(heir.transact([record("t", "b")], OPTIONS));
  await world.clock.advanceSettling(50);
  assert.deepEqual(await world.read(), ["b"]);
});

test("KAFKA-20734: a partition without a leader loses its marker; closing out repairs what is still to be decided", async () => {
  const fates = [
    { outcome: "commit", repaired: true, expected: ["first", "second"] },
    { outcome: "abort", repaired: true, expected: ["second"] },
    { outcome: "commit", repaired: false, expected: [] }, // the next abort takes the committed record along
    { outcome: "abort", repaired: false, expected: ["first", "second"] }, // the next commit shows the aborted record
  ] as const;
  for (const { outcome, repaired, expected } of fates) {
    const world = new World();
    const { kafka } = world;
    kafka.transactions.markers.loseWithoutLeader = true;
    let producer = await world.producer();
    if (outcome === "abort") {
      kafka.link("site").loseNext("end-transaction", "request");
      await world.rejects("kafka.in-doubt", producer.transact([record("t", "first")], OPTIONS));
      kafka.setLeader("t", 0, false);
    } else {
      await world.run(producer.transact([record("t", "first")], OPTIONS));
      kafka.setLeader("t", 0, false);
      await world.clock.advanceSettling(10);
    }
    const successor = await world.producer();
    producer = successor;
    await world.clock.advanceSettling(10);
    assert.equal(kafka.transactions.lostMarkerCount, 1);
    kafka.setLeader("t", 0, true);
    const partitions = [{ kafkaTopic: "t", partition: 0 }];
    const open = await world.run(
      kafka.client("site").openTransactions({ producerId: producer.producerId, partitions }),
    );
    assert.deepEqual(open, [{ kafkaTopic: "t", partition: 0, startOffset: 0 }]);
    if (repaired) await world.run(producer.closeOut(partitions, { outcome }));
    if (!repaired && outcome === "commit") {
      kafka.link("site").loseNext("end-transaction", "request");
      await world.rejects("kafka.in-doubt", producer.transact([record("t", "second")], OPTIONS));
      await world.producer();
    } else {
      await world.run(producer.transact([record("t", "second")], OPTIONS));
    }
    await world.clock.advanceSettling(10);
    assert.deepEqual(await world.read(), expected, `${outcome}, ${repaired ? "repaired" : "not repaired"}`);
  }
});

test("otherwise a marker waits for the leader, and the write of a partition without one until the time-out", async () => {
  const world = new World();
  const producer = await world.producer();
  await world.run(producer.transact([record("t", "a")], OPTIONS));
  world.kafka.setLeader("t", 0, false);
  await world.clock.advanceSettling(50);
  assert.deepEqual((await world.fetch(0)).error, { kind: "not-leader" });
  const lookup = world.kafka.lookUp("t");
  assert.deepEqual(lookup.kind === "found" && lookup.info.leaderless, [0]);
  world.kafka.setLeader("t", 0, true);
  assert.deepEqual(await world.read(), ["a"]);
  world.kafka.setLeader("t", 0, false);
  await world.rejects("kafka.unreachable", producer.transact([record("t", "b")], OPTIONS));
});

test("a link that is down, silent or slow shows as such, and only to its own site", async () => {
  const world = new World();
  const link = world.kafka.link("site");
  const producer = await world.producer();
  link.reachable = false;
  await world.rejects("kafka.unreachable", producer.transact([record("t", "a")], OPTIONS));
  await world.rejects("kafka.unreachable", world.kafka.client("site").lookUpTopics(["t"]));
  assert.equal((await world.run(world.kafka.client("reader").lookUpTopics(["t"]))).get("t")?.kind, "found");
  link.reachable = true;
  const again = await world.producer();
  link.latencyMs = 100;
  const sent = again.transact([record("t", "b")], OPTIONS);
  const rejected = assert.rejects(sent, (error) => error instanceof TributaryError && error.code === "kafka.in-doubt");
  await world.clock.advanceSettling(450); // the end is on its way
  link.reachable = false;
  await world.clock.advanceSettling(500);
  await rejected;
  link.reachable = true;
  link.latencyMs = 0;
  link.silenceMs = 1_000;
  link.loseNext("metadata", "reply");
  const startMs = world.clock.nowMs();
  await world.rejects("kafka.unreachable", world.kafka.client("site").listTopics());
  assert.equal(world.clock.nowMs() - startMs, 1_000);
});

test("replies are held until the driver releases them, while their requests have taken effect", async () => {
  const world = new World();
  const link = world.kafka.link("site");
  const producer = await world.producer();
  link.fate = (kind) => {
    if (kind === "end-transaction") link.holdReplies();
    return undefined;
  };
  let done = false;
  const sent = producer.transact([record("t", "a")], OPTIONS).then(() => {
    done = true;
  });
  await world.clock.advanceSettling(1_000);
  assert.deepEqual([done, link.heldReplyCount], [false, 1]);
  assert.deepEqual(await world.read(), ["a"]);
  link.releaseReplies();
  await world.run(sent);
  assert.equal(done, true);
});

test("a record that Kafka refuses for itself fails its batch, and nothing of the transaction is seen", async () => {
  const world = new World();
  world.kafka.refuses = (one) => decoder.decode(one.value ?? new Uint8Array()) === "bad";
  const producer = await world.producer();
  await world.rejects("kafka.rejected", producer.transact([record("t", "a"), record("t", "bad")], OPTIONS));
  const later = { ...record("t", "future"), timestampMs: world.clock.wallMs() + 3_700_000 };
  const second = await world.producer();
  await world.rejects("kafka.rejected", second.transact([later], OPTIONS));
  const third = await world.producer();
  await world.run(
    third.transact([record("t", "good"), { ...later, timestampMs: later.timestampMs - 100_000 }], OPTIONS),
  );
  await world.clock.advanceSettling(10);
  assert.deepEqual(await world.read(), ["good", "future"]);
});

test("missing rights are told per topic", async () => {
  const world = new World(["t", "u"]);
  world.kafka.denied.add("t");
  world.kafka.mayCreateTopics = false;
  const client = world.kafka.client("site");
  const lookups = await world.run(client.lookUpTopics(["t", "u"]));
  assert.deepEqual([lookups.get("t")?.kind, lookups.get("u")?.kind], ["unauthorized", "found"]);
  assert.deepEqual((await world.fetch(0)).error, { kind: "unauthorized" });
  const producer = await world.producer();
  await world.rejects("kafka.misconfigured", producer.transact([record("t", "x")], OPTIONS));
  await world.rejects(
    "kafka.misconfigured",
    client.createTopic({ kafkaTopic: "new", partitions: 1, replication: -1, configs: {} }),
  );
});

test("a producer whose epochs are used up gets another id", async () => {
  const world = new World();
  world.kafka.transactions.epochMax = 3;
  const ids: bigint[] = [];
  for (let round = 0; round < 5; round++) ids.push((await world.producer()).producerId);
  assert.deepEqual(new Set(ids).size, 2);
});

test("closing a client ends what it waits for", async () => {
  const world = new World();
  const client = world.kafka.client("site");
  const topicId = world.kafka.topic("t")?.topicId ?? "";
  const waiting = client.fetch([{ kafkaTopic: "t", topicId, partition: 0, offset: 0 }], {
    maxWaitMs: 60_000,
    maxBytes: 1,
  });
  const rejected = assert.rejects(
    waiting,
    (error) => error instanceof TributaryError && error.code === "kafka.unreachable",
  );
  await settle();
  await client.close();
  await rejected;
  assert.equal(world.clock.nowMs(), 0);
});
