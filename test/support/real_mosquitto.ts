/**
 * Drives mosquitto_sub and mosquitto_pub through the interface of real_clients.ts: a client is a mosquitto_sub, and each of
 * its publishes a mosquitto_pub of its own. Must not use what an older release than 2.0 does not have.
 */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mosquittoMissing, mosquittoPub, mosquittoSub, readyTopicName } from "./mqtt_tools.ts";
import type {
  MessageProperties,
  PublishOptions,
  RealClient,
  RealClients,
  RealConnectOptions,
  RealMessage,
} from "./real_clients.ts";
import type { TestContext } from "./test.ts";
import { eventually } from "./wait.ts";
import { authorityOfPort } from "./wire.ts";

const patienceMs = 10_000;

const flags = { 3: "mqttv31", 4: "mqttv311", 5: "mqttv5" } as const;

export const mosquittoClients: readonly RealClients[] = ([3, 4, 5] as const).map((version) => ({
  name: `mosquitto_sub ${version === 3 ? "3.1" : version === 4 ? "3.1.1" : "5.0"}`,
  version,
  missing: mosquittoMissing(),
  reconnects: true,
  knowsAliases: false, // libmosquitto 2.0 takes a PUBLISH without topic name for a protocol error, whatever it has announced
  endsWithWill: version === 5, // reason code 0x04, when it is told to end
  speaksTls: true,
  speaksWebSocket: false,
  connect: (t, port, options = {}) => connectOne(t, port, { ...options, version }),
}));

async function connectOne(
  t: Pick<TestContext, "after">,
  port: number,
  options: RealConnectOptions & { readonly version: 3 | 4 | 5 },
): Promise<RealClient> {
  const common = ["-V", flags[options.version], ...authorityArguments(t, authorityOfPort(port))];
  const child = await mosquittoSub(t, port, [...common, ...subscriberArguments(options)], common);
  const messages = (): readonly RealMessage[] => {
    return child.stdout().split("\n").slice(0, -1).flatMap((line) => messageOf(line));
  };
  return {
    sessionPresent: undefined,
    publish: (topic, payload, publishing = {}) =>
      mosquittoPub(t, port, [...common, ...publisherArguments(publishing), "-t", topic, "-m", payload]),
    received: (count) =>
      eventually(
        () => {
          const found = messages();
          return found.length >= count && found;
        },
        patienceMs,
        `${count} messages of mosquitto_sub: ${child.stderr()}`,
      ),
    ended: async () => {
      await child.exited();
      return undefined;
    },
    end: async () => {
      child.signal("SIGTERM"); // it sends DISCONNECT then
      await child.exited();
    },
    cut: async () => {
      child.signal("SIGKILL");
      await child.exited();
    },
  };
}

/** Behind the blank in which mosquitto_sub ends a topic, everything is divided by tabs. */
const format = "> %t\t%q\t%r\t%p\t%C\t%R\t%D\t%E\t%P";

function subscriberArguments(options: RealConnectOptions & { readonly version: 3 | 4 | 5 }): readonly string[] {
  const { clientId, clean = true, filters = [], qos = 2, will, version } = options;
  const args = ["-q", String(qos), "-F", format, ...filters.flatMap((filter) => ["-t", filter])];
  if (clientId !== undefined) args.push("-i", clientId);
  if (!clean) args.push("-c", ...(version === 5 ? ["-x", "3600"] : []));
  if (will !== undefined) {
    args.push("--will-topic", will.topic, "--will-payload", will.payload, "--will-qos", String(will.qos));
    if (will.retain === true) args.push("--will-retain");
    if (will.delaySeconds !== undefined) args.push("-D", "will", "will-delay-interval", String(will.delaySeconds));
  }
  return args;
}

function publisherArguments({ qos = 0, retain = false, properties = {} }: PublishOptions): readonly string[] {
  const { userProperties = [], contentType, responseTopic, correlationData, messageExpirySeconds, topicAlias } =
    properties;
  const property = (name: string, value: string | number | undefined): string[] =>
    value === undefined ? [] : ["-D", "publish", name, String(value)];
  return [
    "-q",
    String(qos),
    ...(retain ? ["-r"] : []),
    ...userProperties.flatMap(([name, value]) => ["-D", "publish", "user-property", name, value]),
    ...property("content-type", contentType),
    ...property("response-topic", responseTopic),
    ...property("correlation-data", correlationData),
    ...property("message-expiry-interval", messageExpirySeconds),
    ...property("topic-alias", topicAlias),
  ];
}

function authorityArguments(t: Pick<TestContext, "after">, authority: string | undefined): readonly string[] {
  if (authority === undefined) return [];
  const directory = mkdtempSync(join(tmpdir(), "tributary-mosquitto-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, "authority.crt");
  writeFileSync(path, authority);
  return ["--cafile", path];
}

function messageOf(line: string): readonly RealMessage[] {
  if (!line.startsWith("> ")) return [];
  const [topic = "", qos, retain, payload = "", contentType, responseTopic, correlationData, expiry, users] = line
    .slice(2).split("\t");
  if (topic === readyTopicName) return [];
  const pairs = (users ?? "").split(" ").filter((pair) => pair !== "").map((pair) => pair.split(":"));
  const properties: MessageProperties = {
    ...(pairs.length === 0 ? {} : { userProperties: pairs.map(([key = "", value = ""]) => [key, value] as const) }),
    ...(contentType ? { contentType } : {}),
    ...(responseTopic ? { responseTopic } : {}),
    ...(correlationData ? { correlationData } : {}),
    ...(expiry ? { messageExpirySeconds: Number(expiry) } : {}),
  };
  return [{ topic, payload, qos: Number(qos), retain: retain === "1", properties }];
}
