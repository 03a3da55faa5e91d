/** Everybody's MQTT clients for end-to-end tests: MQTT.js, and Mosquitto's command line. */

import { execFileSync } from "node:child_process";
import mqtt, { type IClientOptions, type MqttClient } from "mqtt";
import { type Child, spawnChild } from "./child.ts";
import { testCertificates } from "./certificates.ts";
import type { TestContext } from "./test.ts";
import { eventually, within } from "./wait.ts";
import { urlOfPort } from "./wire.ts";

const patienceMs = 10_000;

/** A message as a test compares it. */
export interface ReceivedMessage {
  readonly topic: string;
  readonly payload: string;
  readonly qos: number;
  readonly retain: boolean;
}

export interface MqttJsClient {
  readonly client: MqttClient;
  readonly sessionPresent: boolean;
  /** Everything received so far. */
  readonly messages: readonly ReceivedMessage[];
  /** Waits until so many messages are here, and returns all. */
  readonly received: (count: number) => Promise<readonly ReceivedMessage[]>;
}

/** MQTT.js over what the port speaks, without reconnecting, ended with the test. Version 5 unless told otherwise. */
export async function connectMqttJs(
  t: Pick<TestContext, "after">,
  port: number,
  options: IClientOptions = {},
): Promise<MqttJsClient> {
  const url = urlOfPort(port);
  const secure = /^(?:mqtts|wss):/.test(url) ? { ca: testCertificates().authority } : {};
  const client = mqtt.connect(url, { protocolVersion: 5, reconnectPeriod: 0, ...secure, ...options });
  t.after(() => client.endAsync(true).then(() => undefined));
  const messages: ReceivedMessage[] = [];
  client.on("message", (topic, payload, { qos, retain }) => {
    messages.push({ topic, payload: payload.toString(), qos, retain });
  });
  const connected = new Promise<boolean>((resolve, reject) => {
    client.once("connect", ({ sessionPresent }) => resolve(sessionPresent));
    client.once("error", reject);
    client.once("close", () => reject(new Error("closed before CONNACK")));
  });
  const sessionPresent = await within(connected, patienceMs, "MQTT.js connects");
  client.on("error", () => undefined);
  return {
    client,
    sessionPresent,
    messages,
    received: (count) => eventually(() => messages.length >= count && messages, patienceMs, `${count} messages`),
  };
}

/** Why tests with Mosquitto's clients cannot run here, or undefined. */
export function mosquittoMissing(): string | undefined {
  try {
    execFileSync("mosquitto_pub", ["--version"], { stdio: "ignore" });
    return undefined;
  } catch (error) {
    // It exits with 1 when it has printed its version.
    const isMissing = error instanceof Error && "code" in error && error.code === "ENOENT";
    return isMissing ? "mosquitto_pub and mosquitto_sub are not installed" : undefined;
  }
}

/** Runs mosquitto_pub to its end; rejects unless it succeeds. */
export async function mosquittoPub(
  t: Pick<TestContext, "after">,
  port: number,
  args: readonly string[],
): Promise<void> {
  const child = spawnChild(t, ["mosquitto_pub", "-h", "127.0.0.1", "-p", String(port), ...args]);
  const { code } = await child.exited();
  if (code !== 0) throw new Error(`mosquitto_pub ended with ${code}: ${child.stderr()}`);
}

/** A topic name that no test uses for anything else. */
export const readyTopicName = "test-support/mosquitto_sub-is-ready";

/**
 * Starts mosquitto_sub and waits until it has subscribed. It keeps what it tells about that in a buffer until the first
 * message, so there is one: retained, on a topic name of its own. `publisherArgs` are what mosquitto_pub needs to reach it.
 */
export async function mosquittoSub(
  t: Pick<TestContext, "after">,
  port: number,
  args: readonly string[],
  publisherArgs: readonly string[] = [],
): Promise<Child> {
  await mosquittoPub(t, port, [...publisherArgs, "-r", "-q", "1", "-t", readyTopicName, "-m", "ready"]);
  const target = ["-h", "127.0.0.1", "-p", String(port), "-F", "> %t %q %r %p", "-t", readyTopicName];
  const child = spawnChild(t, ["mosquitto_sub", ...target, ...args]);
  const ready = (line: string): true | undefined => line.startsWith(`> ${readyTopicName}`) || undefined;
  await child.line("stdout", ready, "mosquitto_sub subscribes");
  return child;
}

/** Waits for a message of mosquitto_sub: `topic qos retain payload`. */
export function mosquittoMessage(child: Child, message: string): Promise<true> {
  return child.line("stdout", (line) => line === `> ${message}` || undefined, `the message "${message}"`);
}
