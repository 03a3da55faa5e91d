/** A disk of 64 MiB that fills, under a log that was promised a gibibyte: refused, not lost; and it goes on by itself. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { deliveryProblems, type SentMessage } from "../support/delivery_check.ts";
import { e2eTest, type Gateway } from "../support/gateway_process.ts";
import { readinessOf } from "../support/kafka_proof.ts";
import { publishShare, RestartableGateway, sentBy, startPublishers } from "../support/load.ts";
import type { LoadPublisher } from "../support/load_publisher.ts";
import { LoadSubscriber } from "../support/load_subscriber.ts";
import { RawClient } from "../support/mqtt_client.ts";
import { mountSmallDisk, type SmallDisk, withSmallDisks } from "../support/small_disk.ts";
import type { TestContext } from "../support/test.ts";
import { eventually } from "../support/wait.ts";

const DISK_BYTES = 64 * 1024 * 1024;
const DEADLINE_MS = 60_000;
/** Quota exceeded, MQTT 5 §2.4. */
const QUOTA_EXCEEDED = 0x97;
const FULL = "The disk is full: publishes that need the log are refused";
const PAYLOAD_BYTES = 8 * 1024;
/** More than fits. */
const MESSAGES_EACH = 4_000;

withSmallDisks(fileURLToPath(import.meta.url), () => {
  e2eTest(
    "a log that fills its disk refuses with 0x97, parks in 3.1.1, lets everybody leave, and resumes when messages are taken",
    async (t) => {
      const { gateway, absent, publishers } = await begin(t);
      const guests = await threeGuests(t, gateway.current);
      await publishShare(publishers, 1, DEADLINE_MS);
      assertRefusedSome(publishers);
      await expectNotReady(gateway.current);
      await gateway.current.event("log.full");

      await guests.whileFull();
      await expectNotReady(gateway.current);

      await absent.goOnline(DEADLINE_MS);
      await guests.afterwards();
      await untilReady(gateway.current);
      // Everything acknowledged, once; of what was refused, nothing.
      const last = startPublishers(t, {
        prefix: "f",
        clients: 1,
        messagesEach: 10,
        port: gateway.port,
        qos: 2,
        window: 10,
      });
      await publishShare(last, 1, DEADLINE_MS);
      await expectAll(absent, [...publishers, ...last], guests.sent);
      assert.equal(last[0]?.refused.size, 0);
      assert.equal((await gateway.stop()).code, 0);
    },
    { timeout: 180_000 },
  );

  e2eTest(
    "a disk that somebody else fills: nothing acknowledged is lost over kill -9 and restart, and service resumes when the file goes",
    async (t) => {
      const { disk, gateway, absent, publishers } = await begin(t);
      await publishShare(publishers, 0.05, DEADLINE_MS);
      assert.equal(publishers.reduce((sum, { refused }) => sum + refused.size, 0), 0);

      disk.fill(0);
      await publishShare(publishers, 0.5, DEADLINE_MS);
      assertRefusedSome(publishers);
      await expectNotReady(gateway.current);
      await gateway.kill9();
      await gateway.start();
      await expectNotReady(gateway.current);

      disk.clear();
      await untilReady(gateway.current);
      const before = publishers.map(({ refused }) => refused.size);
      await publishShare(publishers, 0.55, DEADLINE_MS);
      assert.deepEqual(publishers.map(({ refused }) => refused.size), before);
      await absent.goOnline(DEADLINE_MS);
      await expectAll(absent, publishers);
      assert.equal((await gateway.stop()).code, 0);
    },
    { timeout: 180_000 },
  );

  e2eTest(
    "started on a disk without a free byte it serves what it has, or ends with 74 and says to make room; then nothing is missing",
    async (t) => {
      const { disk, gateway, absent, publishers } = await begin(t);
      await publishShare(publishers, 0.05, DEADLINE_MS);
      disk.fill(0);
      await publishShare(publishers, 0.1, DEADLINE_MS);
      assertRefusedSome(publishers);
      // What the gateway had kept back for this moment goes too.
      await gateway.kill9();
      disk.fill(0);
      const child = gateway.startUnready();
      // Whether opening needs more than the files have depends on what the last checkpoint had still to move.
      const isReady = (): boolean => child.stderr().includes('"event":"ready"');
      await eventually(() => child.hasExited() || isReady(), DEADLINE_MS, "it is ready, or has said why not");
      if (isReady()) child.signal("SIGKILL");
      else {
        assert.match(child.stderr(), /"Cannot open the log in .+; make room on the disk.*, then start again"/);
      }
      assert.equal((await child.exited()).code, isReady() ? null : 74);
      disk.clear();
      await gateway.start();
      await absent.goOnline(DEADLINE_MS);
      await expectAll(absent, publishers);
      assert.equal((await gateway.stop()).code, 0);
    },
    { timeout: 180_000 },
  );
});

/** A gateway on a small disk, a session that waits for everything, and publishers that have not begun. */
async function begin(t: TestContext): Promise<{
  readonly disk: SmallDisk;
  readonly gateway: RestartableGateway;
  readonly absent: LoadSubscriber;
  readonly publishers: readonly LoadPublisher[];
}> {
  const disk = mountSmallDisk(t, DISK_BYTES);
  const gateway = await RestartableGateway.start(t, {}, `${disk.path}/data`);
  const absent = await absentSubscriber(t, gateway.port);
  return { disk, gateway, absent, publishers: startLoad(t, gateway.port) };
}

/** A persistent session that is away: whatever is published for it needs the log. */
async function absentSubscriber(t: TestContext, port: () => number | undefined): Promise<LoadSubscriber> {
  const subscriber = new LoadSubscriber(t, {
    port,
    clientId: "absent",
    protocolVersion: 5,
    topicFilter: "f/#",
    qos: 2,
  });
  await subscriber.goOnline(DEADLINE_MS);
  await subscriber.goOffline();
  return subscriber;
}

function startLoad(t: TestContext, port: () => number | undefined): readonly LoadPublisher[] {
  const load = { clients: 2, messagesEach: MESSAGES_EACH, payloadBytes: PAYLOAD_BYTES, port, window: 20 };
  return [
    ...startPublishers(t, { ...load, prefix: "f/one", qos: 1, protocolVersion: 5 }),
    ...startPublishers(t, { ...load, prefix: "f/two", qos: 2, protocolVersion: 5 }),
  ];
}

/** Every client was refused something, with the code that says why. */
function assertRefusedSome(publishers: readonly LoadPublisher[]): void {
  const codes = publishers.map(({ refused }) => [...refused.values()]);
  assert.ok(codes.every((one) => one.length > 0), "every client was refused something");
  assert.deepEqual(new Set(codes.flat()), new Set([QUOTA_EXCEEDED]));
}

async function expectNotReady(gateway: Gateway): Promise<void> {
  const { status, reasons } = await readinessOf(gateway);
  assert.deepEqual({ status, reasons }, { status: 503, reasons: [FULL] });
}

async function untilReady(gateway: Gateway): Promise<void> {
  const isReady = async (): Promise<boolean> => (await readinessOf(gateway)).status === 200;
  await eventually(isReady, DEADLINE_MS, "the gateway is ready again");
}

/** That the subscriber gets what was acknowledged, all of it, in order, and nothing else. */
async function expectAll(
  subscriber: LoadSubscriber,
  publishers: readonly LoadPublisher[],
  guests: readonly SentMessage[] = [],
): Promise<void> {
  const sent = [...publishers.flatMap((one) => sentBy([one], one.settled)), ...guests];
  await subscriber.untilReceived(sent.length, DEADLINE_MS);
  assert.deepEqual(deliveryProblems(sent, subscriber.received), []);
}

interface Guests {
  /** What was accepted from them, in the end. */
  readonly sent: readonly SentMessage[];
  /** What must succeed while publishes are refused. */
  whileFull(): Promise<void>;
  /** What waited, and now goes on. */
  afterwards(): Promise<void>;
}

/** Clients whose business is under way when the disk fills. */
async function threeGuests(t: TestContext, gateway: Gateway): Promise<Guests> {
  const options = { port: gateway.port(), protocolVersion: 4 } as const;
  const three = (await RawClient.connect(t, options, { clientId: "three", clean: false })).client;
  const five = (await RawClient.connect(t, { port: gateway.port() }, { clientId: "five" })).client;
  const leaving = (await RawClient.connect(t, options, { clientId: "leaving", clean: false })).client;
  await leaving.subscribe([{ topic: "nothing/#", qos: 1 }]);
  leaving.disconnect();
  await leaving.expectEnd();
  for (const client of [three, five]) {
    client.publish("f/guest", `begun by ${client.protocolVersion}`, { qos: 2, messageId: 1 });
    assert.equal((await client.expect("pubrec")).messageId, 1);
  }
  const accepted = [`begun by 4`, `begun by 5`, "parked"];
  return {
    sent: accepted.map((payload) => ({ topicName: "f/guest", payload, repeatsMax: 0 })),
    async whileFull(): Promise<void> {
      five.publish("f/guest", "refused", { qos: 1, messageId: 2 });
      assert.equal((await five.expect("puback")).reasonCode, QUOTA_EXCEEDED);
      five.publish("f/guest", "refused", { qos: 2, messageId: 2 });
      assert.equal((await five.expect("pubrec")).reasonCode, QUOTA_EXCEEDED);
      three.publish("f/guest", "parked", { qos: 1, messageId: 2 });
      for (const client of [three, five]) {
        client.send({ cmd: "pubrel", messageId: 1 });
        assert.equal((await client.expect("pubcomp")).messageId, 1);
        await client.expectQuiet();
      }
      const resumed = await RawClient.connect(t, options, { clientId: "leaving", clean: false });
      assert.equal(resumed.connack.sessionPresent, true);
      resumed.client.send({ cmd: "unsubscribe", messageId: 3, unsubscriptions: ["nothing/#"] });
      assert.equal((await resumed.client.expect("unsuback")).messageId, 3);
      resumed.client.disconnect();
      await resumed.client.expectEnd();
    },
    async afterwards(): Promise<void> {
      assert.equal((await three.expect("puback", DEADLINE_MS)).messageId, 2);
    },
  };
}
