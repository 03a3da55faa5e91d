/**
 * Loads for end-to-end proofs: what twenty devices publish, a gateway that is killed and started again under them, and
 * what was sent as the judges want it. Real processes only; nothing of the gateway's code.
 */

import { randomBytes } from "node:crypto";
import {
  type Gateway,
  type GatewayOptions,
  startGateway,
  startProgram,
  temporaryDirectory,
  type TestScope,
} from "./gateway_process.ts";
import type { Child, Exit } from "./child.ts";
import { deliveryProblems, isComplete, seenInKafka, type SentMessage } from "./delivery_check.ts";
import type { KafkaBroker, ReadRecord } from "./kafka.ts";
import { type LoadMessage, LoadPublisher, type LoadPublisherOptions } from "./load_publisher.ts";
import { eventually } from "./wait.ts";

/** What a sensor's message weighs. */
const PAYLOAD_BYTES = 64;
const TOPICS_PER_CLIENT = 5;

/** Messages of one client: `<prefix>/<client>/<0…4>`, payloads unique over all loads of a test. */
function loadOf(
  clientId: string,
  prefix: string,
  size: { count: number; payloadBytes: number; incompressible: boolean },
): LoadMessage[] {
  const { incompressible, payloadBytes } = size;
  const fill = (): string => incompressible ? randomBytes(payloadBytes).toString("base64") : ".";
  return Array.from({ length: size.count }, (_, index) => ({
    topicName: `${prefix}/${clientId}/${index % TOPICS_PER_CLIENT}`,
    payload: `${prefix} ${clientId} ${index} `.padEnd(payloadBytes, fill()),
  }));
}

/** The client that publishes a topic name of `loadOf`. */
export function clientIdOf(topicName: string): string {
  return topicName.split("/")[1] ?? "";
}

export interface LoadOptions extends Pick<LoadPublisherOptions, "port" | "qos" | "window" | "onSettled" | "onPassed"> {
  readonly prefix: string;
  readonly clients: number;
  readonly messagesEach: number;
  /** 64 unless told otherwise. */
  readonly payloadBytes?: number;
  /** Random text, where a slow link is to be felt. */
  readonly incompressible?: boolean;
  /** In turn 3.1.1 and 5 unless told otherwise. */
  readonly protocolVersion?: 4 | 5;
}

/** Publishers of one load. They connect at once and publish when told. */
export function startPublishers(t: TestScope, options: LoadOptions): readonly LoadPublisher[] {
  const { prefix, clients, messagesEach, payloadBytes = PAYLOAD_BYTES, incompressible = false, ...rest } = options;
  return Array.from({ length: clients }, (_, index) => {
    const clientId = `${prefix}-${String(index).padStart(2, "0")}`;
    return new LoadPublisher(t, {
      protocolVersion: index % 2 === 0 ? 4 : 5,
      ...rest,
      clientId,
      messages: loadOf(clientId, prefix, { count: messagesEach, payloadBytes, incompressible }),
    });
  });
}

/** Publishes a share of every load, and waits until it is acknowledged. */
export async function publishShare(
  publishers: readonly LoadPublisher[],
  share: number,
  deadlineMs: number,
): Promise<void> {
  await Promise.all(
    publishers.map((one) => one.publish(Math.floor(one.options.messages.length * share), deadlineMs)),
  );
}

/**
 * What was acknowledged, in the order of sending. At QoS 1 a message may be repeated as often as it was sent again; at
 * QoS 2 never. `each`: only the first so many of every client.
 */
export function sentBy(publishers: readonly LoadPublisher[], each = Infinity): readonly SentMessage[] {
  return publishers.flatMap(({ options, resends, refused }) =>
    options.messages.map(({ topicName, payload }, index) => ({
      topicName,
      payload,
      repeatsMax: options.qos === 1 ? resends[index] ?? 0 : 0,
    })).filter((_, index) => index < each && !refused.has(index))
  );
}

/** Reads the topic with kcat until everything sent is in it. Not yet the proof: more may come. */
export async function untilInKafka(
  broker: Pick<KafkaBroker, "readWithKcat">,
  options: { readonly kafkaTopic: string; readonly sent: readonly SentMessage[]; readonly deadlineMs: number },
): Promise<readonly ReadRecord[]> {
  const { kafkaTopic, sent, deadlineMs } = options;
  return await eventually(
    async () => {
      const records = await broker.readWithKcat({ kafkaTopic });
      const seen = seenInKafka(records);
      if (isComplete(sent, seen)) return records;
      const problems = deliveryProblems(sent, seen);
      throw new Error(`${seen.length} records for ${sent.length} messages: ${problems.slice(0, 3).join("; ")}`);
    },
    deadlineMs,
    `everything is in ${kafkaTopic}`,
  );
}

/** A gateway that is killed and started again on its data, each time on another port. */
export class RestartableGateway {
  readonly #t: TestScope;
  readonly #options: GatewayOptions & { readonly dataDirectory: string };
  #current: Gateway | undefined;

  private constructor(t: TestScope, options: GatewayOptions & { readonly dataDirectory: string }) {
    this.#t = t;
    this.#options = options;
  }

  static async start(
    t: TestScope,
    env: Readonly<Record<string, string>>,
    dataDirectory: string = temporaryDirectory(t),
  ): Promise<RestartableGateway> {
    const gateway = new RestartableGateway(t, { env, dataDirectory });
    await gateway.start();
    return gateway;
  }

  get dataDirectory(): string {
    return this.#options.dataDirectory;
  }

  get current(): Gateway {
    if (this.#current === undefined) throw new Error("the gateway is down");
    return this.#current;
  }

  /** For clients: undefined while the gateway is down. */
  readonly port = (): number | undefined => this.#current?.port();

  async start(): Promise<void> {
    this.#current = await startGateway(this.#t, this.#options);
  }

  /** Starts again after the process has ended by itself. */
  async startAfterItsEnd(): Promise<void> {
    const { child } = this.current;
    this.#current = undefined;
    await child.exited();
    await this.start();
  }

  /** SIGKILL at this very moment; resolves when the process is gone. */
  async kill9(): Promise<void> {
    const { current } = this;
    this.#current = undefined;
    await current.kill9();
  }

  async stop(): Promise<Exit> {
    const { current } = this;
    this.#current = undefined;
    return await current.stop();
  }

  /** Starts a process of which nobody knows whether it will be ready; not what `current` is. */
  startUnready(): Child {
    const { dataDirectory, env } = this.#options;
    return startProgram(this.#t, {
      env: {
        TRIBUTARY_LISTEN: "mqtt://127.0.0.1:0",
        TRIBUTARY_HTTP_LISTEN: "",
        TRIBUTARY_DATA_DIR: dataDirectory,
        ...env,
      },
    });
  }

  /** Starts and kills with -9 after so many milliseconds, ready or not. */
  async startInVain(milliseconds: number): Promise<void> {
    const child = this.startUnready();
    await new Promise((resolve) => setTimeout(resolve, milliseconds));
    child.signal("SIGKILL");
    await child.exited();
  }
}
