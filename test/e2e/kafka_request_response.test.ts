/** Request and response between an MQTT 5 client (MQTT.js) and a Kafka application (kcat), both ways. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { IPublishPacket } from "mqtt-packet";
import { textOf } from "../support/delivery_check.ts";
import { e2eTest, startGateway } from "../support/gateway_process.ts";
import { haveTools, type KafkaBroker, type ReadRecord, startKafka } from "../support/kafka.ts";
import { kafkaEnvironment } from "../support/kafka_proof.ts";
import { runTool } from "../support/kafka_tools.ts";
import { connectMqttJs, type MqttJsClient } from "../support/mqtt_tools.ts";
import type { TestContext } from "../support/test.ts";
import { eventually, within } from "../support/wait.ts";

const DEADLINE_MS = 30_000;

const routes = [
  "requests/{device} -> requests key={device}",
  "responses/{device} <- responses key={device} from=earliest",
];

/** What a Kafka application writes, with headers. */
interface Written {
  readonly kafkaTopic: string;
  readonly key: string;
  readonly value: string;
  readonly headers: Readonly<Record<string, string>>;
}

async function writeWithKcat(bootstrap: string, written: Written): Promise<void> {
  const headers = Object.entries(written.headers).flatMap(([name, value]) => ["-H", `${name}=${value}`]);
  const target = ["-b", bootstrap, "-P", "-t", written.kafkaTopic, "-k", written.key];
  await runTool("kcat", [...target, ...headers], written.value);
}

function headersOf(record: ReadRecord): ReadonlyMap<string, string> {
  return new Map(record.headers.map(([name, value]) => [name, textOf(value)]));
}

/** Waits until the topic is there and has so many records. */
async function untilRecords(broker: KafkaBroker, kafkaTopic: string, count: number): Promise<readonly ReadRecord[]> {
  return await eventually(
    () => broker.readWithKcat({ kafkaTopic, count }),
    DEADLINE_MS,
    `${count} records in ${kafkaTopic}`,
  );
}

async function connectDevice(
  t: TestContext,
  port: number,
): Promise<MqttJsClient & { next(): Promise<IPublishPacket> }> {
  const device = await connectMqttJs(t, port, { clientId: "d1" });
  await device.client.subscribeAsync("responses/d1", { qos: 1 });
  const packets: IPublishPacket[] = [];
  let arrived = (): void => undefined;
  device.client.on("message", (_topicName, _payload, packet) => {
    packets.push(packet);
    arrived();
  });
  const next = async (): Promise<IPublishPacket> => {
    if (packets.length === 0) await new Promise<void>((resolve) => (arrived = resolve));
    const packet = packets.shift();
    assert.ok(packet !== undefined);
    return packet;
  };
  return { ...device, next: () => within(next(), DEADLINE_MS, "a message for the device") };
}

e2eTest(
  "an MQTT 5 client asks and a Kafka application answers; the application asks and the client answers",
  async (t) => {
    if (!haveTools(t, ["java", "mvn", "kcat"])) return;
    const broker = await startKafka(t);
    const gateway = await startGateway(t, { env: kafkaEnvironment(broker, routes) });
    const device = await connectDevice(t, gateway.port());

    // The device asks. Where and how to answer is in the record.
    const correlationData = Buffer.from("Anfrage ü 1");
    await device.client.publishAsync("requests/d1", "how warm?", {
      qos: 1,
      properties: { responseTopic: "responses/d1", correlationData, userProperties: { traceparent: "00-aa-bb-01" } },
    });
    const [request] = await untilRecords(broker, "requests", 1);
    assert.ok(request !== undefined);
    assert.deepEqual([textOf(request.key), textOf(request.value)], ["d1", "how warm?"]);
    const headers = headersOf(request);
    assert.equal(headers.get("mqtt-response-topic"), "responses/d1");
    assert.equal(headers.get("mqtt-reply-kafka-topic"), "responses");
    assert.equal(headers.get("mqtt-reply-key"), "d1");
    assert.equal(headers.get("mqtt-correlation-data"), correlationData.toString());
    assert.equal(headers.get("traceparent"), "00-aa-bb-01");
    assert.equal(headers.has("mqtt-topic"), false, "the route yields the topic name");

    // The application answers by what it was told only.
    await writeWithKcat(broker.bootstrap, {
      kafkaTopic: headers.get("mqtt-reply-kafka-topic") ?? "",
      key: headers.get("mqtt-reply-key") ?? "",
      value: "21 °C",
      headers: {
        "mqtt-correlation-data": headers.get("mqtt-correlation-data") ?? "",
        traceparent: headers.get("traceparent") ?? "",
      },
    });
    const answer = await device.next();
    assert.deepEqual([answer.topic, answer.payload.toString()], ["responses/d1", "21 °C"]);
    assert.deepEqual(Buffer.from(answer.properties?.correlationData ?? []), correlationData);
    assert.deepEqual({ ...answer.properties?.userProperties }, { traceparent: "00-aa-bb-01" });

    // The application asks.
    await writeWithKcat(broker.bootstrap, {
      kafkaTopic: "responses",
      key: "d1",
      value: "set 22",
      headers: { "mqtt-response-topic": "requests/d1", "mqtt-correlation-data": "order-42", "mqtt-expiry": "3600" },
    });
    const order = await device.next();
    assert.equal(order.payload.toString(), "set 22");
    const { responseTopic, correlationData: orderData, messageExpiryInterval = 0 } = order.properties ?? {};
    assert.equal(responseTopic, "requests/d1");
    assert.ok(messageExpiryInterval > 3500 && messageExpiryInterval <= 3600, `expiry ${messageExpiryInterval}`);

    // The device answers by what it was told only.
    await device.client.publishAsync(responseTopic, "done", {
      qos: 1,
      ...(orderData === undefined ? {} : { properties: { correlationData: orderData } }),
    });
    const records = await untilRecords(broker, "requests", 2);
    const done = records.find(({ value }) => textOf(value) === "done");
    assert.ok(done !== undefined);
    assert.equal(textOf(done.key), "d1");
    assert.equal(headersOf(done).get("mqtt-correlation-data"), "order-42");
    // What came down did not go up again.
    await gateway.stop();
    assert.equal((await broker.readWithKcat({ kafkaTopic: "requests" })).length, 2);
  },
  { timeout: 120_000 },
);
