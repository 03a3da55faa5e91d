/**
 * One interface over the clients that people use, so that a scenario is told once and runs with each of them. Owns the
 * interface and the table of clients; how a client is driven is the business of its own file. Must not hide what a client
 * got: a message is compared as the client handed it over.
 */

import { embeddedClients } from "./embedded_client.ts";
import { e2eTest, type Gateway, type SharedGateway } from "./gateway_process.ts";
import { mosquittoClients } from "./real_mosquitto.ts";
import { mqttJsClients } from "./real_mqtt_js.ts";
import { pahoClients } from "./real_paho.ts";
import type { TestContext } from "./test.ts";
import { testTransport } from "./wire.ts";

export type QoS = 0 | 1 | 2;

/** Properties of a message, MQTT 5 only. Those that are absent are left out. */
export interface MessageProperties {
  /** In the order of the packet; MQTT.js puts those of the same name together. */
  readonly userProperties?: readonly (readonly [name: string, value: string])[];
  readonly contentType?: string;
  readonly responseTopic?: string;
  /** As text. */
  readonly correlationData?: string;
  readonly messageExpirySeconds?: number;
  readonly topicAlias?: number;
}

export interface RealMessage {
  readonly topic: string;
  readonly payload: string;
  readonly qos: number;
  readonly retain: boolean;
  readonly properties: MessageProperties;
}

export interface WillOptions {
  readonly topic: string;
  readonly payload: string;
  readonly qos: QoS;
  readonly retain?: boolean;
  /** MQTT 5 only. */
  readonly delaySeconds?: number;
}

export interface RealConnectOptions {
  /** One that nobody else has unless told otherwise. */
  readonly clientId?: string;
  /** Clean session, clean start: true unless told otherwise. The session of an unclean one outlives the connection. */
  readonly clean?: boolean;
  /** Subscribed before `connect` resolves. */
  readonly filters?: readonly string[];
  /** Of all filters; 2 unless told otherwise. */
  readonly qos?: QoS;
  readonly will?: WillOptions;
  /** How many aliases the gateway may use, MQTT 5 only. */
  readonly topicAliasMaximum?: number;
}

export interface PublishOptions {
  readonly qos?: QoS;
  readonly retain?: boolean;
  readonly properties?: MessageProperties;
}

export interface RealClient {
  /** Undefined for clients that do not tell. */
  readonly sessionPresent: boolean | undefined;
  /** Resolves when the client says that the message is delivered, for QoS 0 when it is sent. */
  publish(topic: string, payload: string, options?: PublishOptions): Promise<void>;
  /** Waits until so many messages are here, and returns all. */
  received(count: number): Promise<readonly RealMessage[]>;
  /** Waits until the gateway has ended the connection, and returns the reason code of its DISCONNECT if the client tells. */
  ended(): Promise<number | undefined>;
  /** DISCONNECT. */
  end(): Promise<void>;
  /** Closes without DISCONNECT. */
  cut(): Promise<void>;
}

/** A client in one version of the protocol. */
export interface RealClients {
  readonly name: string;
  readonly version: 3 | 4 | 5;
  /** Why it cannot be used here. */
  readonly missing: string | undefined;
  /** It connects again by itself when it loses its connection; libmosquitto does not after a DISCONNECT of MQTT 5. */
  readonly reconnects: boolean;
  readonly speaksTls: boolean;
  readonly speaksWebSocket: boolean;
  /** Its DISCONNECT asks for the will. */
  readonly endsWithWill: boolean;
  /** It understands the aliases that it lets the gateway use. */
  readonly knowsAliases: boolean;
  /** Connects, and ends with the test. */
  connect(t: Pick<TestContext, "after">, port: number, options?: RealConnectOptions): Promise<RealClient>;
}

/** All that speak what the tests connect over. */
export const realClients: readonly RealClients[] = [
  ...mqttJsClients,
  ...pahoClients,
  ...mosquittoClients,
  ...embeddedClients,
].filter(({ speaksTls, speaksWebSocket }) =>
  (speaksTls || !["mqtts", "wss"].includes(testTransport())) &&
  (speaksWebSocket || !["ws", "wss"].includes(testTransport()))
);

/** What a scenario works with. */
export interface Scene {
  readonly clients: RealClients;
  readonly gateway: Gateway;
  /** A topic level that no other test of the file uses. */
  readonly root: string;
}

/** Declares a test with each of these clients, on a gateway that they share. */
export function withEach(
  gatewayOf: SharedGateway,
  { clients, behaviour }: { readonly clients: readonly RealClients[]; readonly behaviour: string },
  body: (t: TestContext, scene: Scene) => Promise<void>,
): void {
  for (const [index, one] of clients.entries()) {
    const root = `${behaviour.replaceAll(/[^a-zA-Z]+/g, "-").slice(0, 30)}/${index}`;
    const run = async (t: TestContext): Promise<void> => {
      await body(t, { clients: one, gateway: await gatewayOf(t), root });
    };
    e2eTest(`${one.name}: ${behaviour}`, run, { skip: one.missing ?? false });
  }
}
