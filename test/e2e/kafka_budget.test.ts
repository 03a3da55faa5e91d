/** The disk budget is reached while Kafka is away: refused in MQTT 5, held back in 3.1.1, and all flows when Kafka returns. */

import assert from "node:assert/strict";
import { deliveryProblems, seenInKafka } from "../support/delivery_check.ts";
import { e2eTest } from "../support/gateway_process.ts";
import { haveTools, startKafka } from "../support/kafka.ts";
import { kafkaEnvironment, metricOf } from "../support/kafka_proof.ts";
import { publishShare, RestartableGateway, sentBy, startPublishers, untilInKafka } from "../support/load.ts";
import { RawClient } from "../support/mqtt_client.ts";
import { eventually } from "../support/wait.ts";

const BUDGET_BYTES = 16 * 1024 * 1024;
const DEADLINE_MS = 60_000;
/** Quota exceeded, MQTT 5 §2.4. */
const QUOTA_EXCEEDED = 0x97;
/** What the 3.1.1 client has at a time; three of them are less than the look-ahead of 64 KiB. */
const PARKED_BYTES = 8 * 1024;

e2eTest(
  "with the disk budget used up MQTT 5 is told 0x97, 3.1.1 waits without deadlock, and all flows when Kafka returns",
  async (t) => {
    if (!haveTools(t, ["java", "mvn", "kcat"])) return;
    const broker = await startKafka(t);
    const gateway = await RestartableGateway.start(t, {
      ...kafkaEnvironment(broker, ["five/# -> budget-five", "three/# -> budget-three"]),
      TRIBUTARY_LOG_MAX_BYTES: String(BUDGET_BYTES),
    });
    const { port } = gateway;
    const load = {
      clients: 2,
      messagesEach: 1500,
      payloadBytes: 8 * 1024,
      port,
      window: 20,
      protocolVersion: 5,
    } as const;
    const publishers = [
      ...startPublishers(t, { ...load, prefix: "five", qos: 1 }),
      ...startPublishers(t, { ...load, prefix: "five/two", qos: 2 }),
    ];
    await publishShare(publishers, 0.01, DEADLINE_MS);
    await untilInKafka(broker, {
      kafkaTopic: "budget-five",
      sent: sentBy(publishers, 15),
      deadlineMs: DEADLINE_MS,
    });
    const options = { port: gateway.current.port(), protocolVersion: 4 } as const;
    const { client } = await RawClient.connect(t, options, { clientId: "three", clean: false });
    const leaving = await RawClient.connect(t, options, { clientId: "leaving", clean: false });
    await leaving.client.subscribe([{ topic: "nothing/#", qos: 1 }]);
    leaving.client.disconnect();
    await leaving.client.expectEnd();
    client.publish("three/a", "before", { qos: 2, messageId: 1 });
    assert.equal((await client.expect("pubrec")).messageId, 1);

    await broker.stop();
    await publishShare(publishers, 0.6, DEADLINE_MS);
    const refusals = publishers.map(({ refused }) => [...refused.values()]);
    assert.ok(refusals.every((codes) => codes.length > 0), "every MQTT 5 client was refused something");
    assert.deepEqual(new Set(refusals.flat()), new Set([QUOTA_EXCEEDED]));
    assert.ok(await metricOf(gateway.current, "log_used_bytes") <= BUDGET_BYTES);

    // 3.1.1 cannot be refused: what it publishes waits, and everything else on its connection goes on.
    const parked = (index: number): string => `parked ${index} `.padEnd(PARKED_BYTES, ".");
    client.publish("three/a", parked(0), { qos: 1, messageId: 2 });
    client.publish("three/b", parked(1), { qos: 2, messageId: 3 });
    client.publish("three/a", parked(2), { qos: 1, messageId: 4 });
    client.send({ cmd: "pubrel", messageId: 1 });
    assert.equal((await client.expect("pubcomp")).messageId, 1);
    await client.expectQuiet();
    // A known session may come back, unsubscribe and leave while the log is full.
    const resumed = await RawClient.connect(t, options, { clientId: "leaving", clean: false });
    assert.equal(resumed.connack.sessionPresent, true);
    resumed.client.send({ cmd: "unsubscribe", messageId: 5, unsubscriptions: ["nothing/#"] });
    assert.equal((await resumed.client.expect("unsuback")).messageId, 5);
    await resumed.client.expectQuiet();
    resumed.client.disconnect();
    await resumed.client.expectEnd();

    await broker.start();
    const acks = [await client.next(DEADLINE_MS), await client.next(), await client.next()];
    assert.deepEqual(acks.filter(({ cmd }) => cmd === "puback").map(({ messageId }) => messageId), [2, 4]);
    assert.deepEqual(acks.filter(({ cmd }) => cmd === "pubrec").map(({ messageId }) => messageId), [3]);
    client.send({ cmd: "pubrel", messageId: 3 });
    assert.equal((await client.expect("pubcomp")).messageId, 3);
    const sentThree = [["three/a", "before"], ["three/a", parked(0)], ["three/b", parked(1)], ["three/a", parked(2)]]
      .map(([topicName = "", payload = ""]) => ({ topicName, payload, repeatsMax: 0 }));
    await untilInKafka(broker, { kafkaTopic: "budget-three", sent: sentThree, deadlineMs: DEADLINE_MS });
    await untilInKafka(broker, { kafkaTopic: "budget-five", sent: acceptedSoFar(), deadlineMs: DEADLINE_MS });

    // Rows that Kafka has are freed step by step, within seconds; then nothing is refused any more.
    const hasRoom = async (): Promise<boolean> => {
      return await metricOf(gateway.current, "log_used_bytes") < BUDGET_BYTES / 2;
    };
    await eventually(hasRoom, DEADLINE_MS, "the log has room again");
    const refusedBefore = refusals.flat().length;
    await publishShare(publishers, 0.65, DEADLINE_MS);
    assert.equal(publishers.reduce((sum, { refused }) => sum + refused.size, 0), refusedBefore);
    await untilInKafka(broker, { kafkaTopic: "budget-five", sent: acceptedSoFar(), deadlineMs: DEADLINE_MS });
    await gateway.stop();
    const five = seenInKafka(await broker.readWithKcat({ kafkaTopic: "budget-five" }));
    assert.deepEqual(deliveryProblems(acceptedSoFar(), five), []);
    const three = seenInKafka(await broker.readWithKcat({ kafkaTopic: "budget-three" }));
    assert.deepEqual(deliveryProblems(sentThree, three), []);

    function acceptedSoFar(): ReturnType<typeof sentBy> {
      return publishers.flatMap((one) => sentBy([one], one.settled));
    }
  },
  { timeout: 240_000 },
);
