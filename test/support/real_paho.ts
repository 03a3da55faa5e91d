/**
 * Drives Eclipse Paho for Python through the interface of real_clients.ts. All clients of a test file live in one Python
 * process, which `paho_clients.py` is: starting one takes longer than most tests. Must not know MQTT.
 */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Child, repository, spawnChild } from "./child.ts";
import { pythonWithPaho } from "./python.ts";
import type { MessageProperties, RealClient, RealClients, RealConnectOptions, RealMessage } from "./real_clients.ts";
import { afterAll, type TestContext } from "./test.ts";
import { eventually } from "./wait.ts";
import { authorityOfPort, urlOfPort } from "./wire.ts";

const patienceMs = 10_000;
const python = pythonWithPaho();

export const pahoClients: readonly RealClients[] = ([3, 4, 5] as const).map((version) => ({
  name: `Paho ${version === 3 ? "3.1" : version === 4 ? "3.1.1" : "5.0"}`,
  version,
  missing: python === undefined ? "paho-mqtt for Python is not installed" : undefined,
  reconnects: false,
  knowsAliases: version === 5,
  endsWithWill: false,
  speaksTls: true,
  speaksWebSocket: true,
  connect: (t, port, options = {}) => connectOne(t, port, { ...options, version }),
}));

/** Its own code; it reads a reason code only if properties follow. */
const connectionLost = 7;

/** What `paho_clients.py` tells; the fields that belong to an event are its business. */
interface PahoEvent {
  readonly client: number;
  readonly event: "connected" | "subscribed" | "message" | "sent" | "published" | "disconnected" | "failed";
  readonly code?: number;
  readonly codes?: readonly number[];
  readonly sessionPresent?: boolean;
  readonly mid?: number;
  readonly number?: number;
  readonly error?: string;
  readonly topic?: string;
  readonly payload?: string;
  readonly qos?: number;
  readonly retain?: boolean;
  readonly properties?: Readonly<Record<string, unknown>>;
}

/** The Python process of this file, its events per client, and how many clients it has had. */
interface Driver {
  readonly child: Child;
  readonly events: Map<number, PahoEvent[]>;
  clientCount: number;
}

let driver: Driver | undefined;
const cleanUps: (() => unknown)[] = [];
afterAll(async () => {
  for (const cleanUp of cleanUps) await cleanUp();
});

function theDriver(): Driver {
  if (driver !== undefined) return driver;
  const file = { after: (cleanUp: () => unknown) => void cleanUps.push(cleanUp) };
  const child = spawnChild(file, [python ?? "python3", `${repository}test/support/paho_clients.py`], {
    deadlineMs: 600_000, // as long as the file's tests take together
  });
  const events = new Map<number, PahoEvent[]>();
  // Looks at every line and finds none, until the process ends with the file.
  child.line("stdout", (line) => take(events, line), "the end of Paho").catch(() => undefined);
  driver = { child, events, clientCount: 0 };
  return driver;
}

function take(events: Map<number, PahoEvent[]>, line: string): undefined {
  const event = JSON.parse(line) as PahoEvent; // our own script writes it
  events.get(event.client)?.push(event);
}

/** One client in the process. */
class Paho {
  readonly #driver: Driver = theDriver();
  readonly #key: number = this.#driver.clientCount++;
  readonly #events: PahoEvent[] = [];
  #publishCount = 0;

  constructor() {
    this.#driver.events.set(this.#key, this.#events);
  }

  order(command: Readonly<Record<string, unknown>>): void {
    this.#driver.child.write(`${JSON.stringify({ ...command, client: this.#key })}\n`);
  }

  all(name: PahoEvent["event"]): readonly PahoEvent[] {
    return this.#events.filter(({ event }) => event === name);
  }

  /** Waits for an event; rejects when Paho has refused a command or, unless that is waited for, is disconnected. */
  async told(name: PahoEvent["event"], isIt: (event: PahoEvent) => boolean = () => true): Promise<PahoEvent> {
    const found = await eventually(
      () =>
        this.#events.find((event) => event.event === name && isIt(event)) ?? this.all("failed")[0] ??
          this.all("disconnected")[0],
      patienceMs,
      `Paho tells "${name}": ${this.#driver.child.stderr().slice(-2_000)}`,
    );
    if (found.event !== name) throw new Error(`Expected "${name}", Paho told ${JSON.stringify(found)}`);
    return found;
  }

  async publish(command: Readonly<Record<string, unknown>>): Promise<void> {
    const number = this.#publishCount++;
    this.order({ do: "publish", ...command, number });
    const { mid } = await this.told("sent", (event) => event.number === number);
    await this.told("published", (event) => event.mid === mid);
  }
}

async function connectOne(
  t: Pick<TestContext, "after">,
  port: number,
  options: RealConnectOptions & { readonly version: 3 | 4 | 5 },
): Promise<RealClient> {
  const paho = new Paho();
  const { version, clean = true, filters = [], qos = 2, will, topicAliasMaximum } = options;
  const clientId = options.clientId ?? `paho-${crypto.randomUUID().slice(0, 12)}`;
  const properties = {
    ...(clean ? {} : { SessionExpiryInterval: 3_600 }),
    ...(topicAliasMaximum === undefined ? {} : { TopicAliasMaximum: topicAliasMaximum }),
  };
  const url = new URL(urlOfPort(port));
  const webSocketPath = url.protocol.startsWith("ws") ? url.pathname : undefined;
  const authority = authorityOfPort(port);
  const authorityFile = authority === undefined ? undefined : temporaryFile(t, authority);
  const way = { port, webSocketPath, authorityFile };
  paho.order({ do: "connect", version, ...way, clientId, clean, filters, qos, will, properties });
  t.after(() => paho.order({ do: "end" }));
  const { sessionPresent, code } = await paho.told("connected");
  if (code !== 0) throw new Error(`Paho was refused with ${code}`);
  if (filters.length > 0) await paho.told("subscribed");
  const aliases = new Map<number, string>();
  return {
    sessionPresent: version === 3 ? undefined : sessionPresent,
    publish: (topic, payload, { qos: publishQos = 0, retain = false, properties: wanted } = {}) =>
      paho.publish({ topic, payload, qos: publishQos, retain, ...(wanted && { properties: pahoProperties(wanted) }) }),
    received: (count) =>
      eventually(
        () => {
          const messages = paho.all("message");
          return messages.length >= count && messages.map((event) => messageOf(event, aliases));
        },
        patienceMs,
        `${count} messages`,
      ),
    ended: async () => {
      const { code: reason } = await paho.told("disconnected");
      return reason === connectionLost ? undefined : reason;
    },
    end: async () => {
      paho.order({ do: "end" });
      await paho.told("disconnected");
    },
    cut: async () => {
      paho.order({ do: "cut" });
      await paho.told("disconnected");
    },
  };
}

function temporaryFile(t: Pick<TestContext, "after">, text: string): string {
  const directory = mkdtempSync(join(tmpdir(), "tributary-paho-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, "authority.crt");
  writeFileSync(path, text);
  return path;
}

/** Our name of a property and Paho's. */
const propertyNames: readonly (readonly [keyof MessageProperties, string])[] = [
  ["userProperties", "UserProperty"],
  ["contentType", "ContentType"],
  ["responseTopic", "ResponseTopic"],
  ["correlationData", "CorrelationData"],
  ["messageExpirySeconds", "MessageExpiryInterval"],
  ["topicAlias", "TopicAlias"],
];

function pahoProperties(properties: MessageProperties): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    propertyNames.flatMap(([ours, theirs]) => properties[ours] === undefined ? [] : [[theirs, properties[ours]]]),
  );
}

/** Paho leaves the topic name of a message with an alias to its application: here, which keeps them. */
function messageOf(event: PahoEvent, aliases: Map<number, string>): RealMessage {
  const told = event.properties ?? {};
  const properties: MessageProperties = Object.fromEntries(
    propertyNames.flatMap(([ours, theirs]) => told[theirs] === undefined ? [] : [[ours, told[theirs]]]),
  );
  const { topicAlias } = properties;
  let { topic = "" } = event;
  if (topicAlias !== undefined && topic === "") topic = aliases.get(topicAlias) ?? "";
  else if (topicAlias !== undefined) aliases.set(topicAlias, topic);
  return { topic, payload: event.payload ?? "", qos: event.qos ?? -1, retain: event.retain ?? false, properties };
}
