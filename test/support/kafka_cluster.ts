/**
 * A real Kafka cluster for tests: three brokers with a controller beside them, so that brokers can die in any number and
 * somebody still says who leads. Every broker has a listener behind a proxy of its own. Replication is as in production:
 * three replicas, two of which must be in sync. It ends with whoever started it.
 */

import { type CleanUp, commonProperties, freePorts, KafkaNode, nodeDirectory } from "./kafka_broker.ts";
import { kafkaClassPath, type KafkaVersion } from "./kafka_install.ts";
import { type KafkaProxy, startKafkaProxy } from "./kafka_proxy.ts";
import { type ReadOptions, type ReadRecord, readWithKcat, runTool } from "./kafka_tools.ts";

const BROKERS = 3;
/** Small heaps: four processes share a test machine. */
const HEAP_MEGABYTES = 256;
const VERSION: KafkaVersion = "4.2.1";

export interface ClusterBroker {
  readonly nodeId: number;
  /** The link between the gateway and this broker. */
  readonly proxy: KafkaProxy;
  /** SIGTERM and wait. */
  stop(): Promise<void>;
  /** SIGKILL and wait. */
  kill(): Promise<void>;
  /** The same ports and data again; resolves when ready. */
  start(): Promise<void>;
  /** SIGSTOP: sockets stay open and nothing answers. */
  freeze(): void;
  thaw(): void;
}

export interface KafkaCluster {
  readonly brokers: readonly ClusterBroker[];
  /** Takes part in no data; who leads is its decision. */
  readonly controller: Pick<ClusterBroker, "kill" | "start">;
  /** `host:port` of the plain listeners. */
  readonly bootstrap: string;
  /** `host:port` of the proxies. */
  readonly proxied: string;
  readWithKcat(options: ReadOptions): Promise<readonly ReadRecord[]>;
  /** Every partition goes back to the broker that its topic names first: leaders move as an administrator moves them. */
  electPreferredLeaders(): Promise<void>;
}

const REPLICATION: Readonly<Record<string, string>> = {
  "default.replication.factor": String(BROKERS),
  "min.insync.replicas": "2",
  "offsets.topic.replication.factor": String(BROKERS),
  "transaction.state.log.replication.factor": String(BROKERS),
  "transaction.state.log.min.isr": "2",
};

/** Starts the cluster and waits until every broker is ready. */
export async function startKafkaCluster(cleanUp: CleanUp): Promise<KafkaCluster> {
  const classPath = await kafkaClassPath(VERSION);
  const [controllerPort = 0, ...ports] = await freePorts(1 + 2 * BROKERS);
  const controller = await prepareNode({ cleanUp, classPath, nodeId: 0, plainPort: undefined }, {
    "process.roles": "controller",
    listeners: `CONTROLLER://127.0.0.1:${controllerPort}`,
    "controller.quorum.voters": `0@127.0.0.1:${controllerPort}`,
  });
  const brokers = await Promise.all(
    Array.from({ length: BROKERS }, (_, index) => {
      const [plainPort = 0, behindProxy = 0] = ports.slice(2 * index);
      return prepareBroker({ cleanUp, classPath, nodeId: index + 1, plainPort }, { behindProxy, controllerPort });
    }),
  );
  await Promise.all([controller, ...brokers.map(({ broker }) => broker)].map((node) => node.start()));
  const bootstrap = brokers.map(({ plainPort }) => `127.0.0.1:${plainPort}`).join(",");
  return {
    brokers: brokers.map(({ broker }) => broker),
    controller,
    bootstrap,
    proxied: brokers.map(({ broker }) => `127.0.0.1:${broker.proxy.port}`).join(","),
    readWithKcat: (options) => readWithKcat(bootstrap, options),
    electPreferredLeaders: async () => {
      const main = "org.apache.kafka.tools.LeaderElectionCommand";
      const what = ["--election-type", "preferred", "--all-topic-partitions"];
      const java = ["-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", classPath, main];
      await runTool("java", [...java, "--bootstrap-server", bootstrap, ...what]);
    },
  };
}

interface Node {
  readonly cleanUp: CleanUp;
  readonly classPath: string;
  readonly nodeId: number;
  readonly plainPort: number | undefined;
}

async function prepareNode(
  { cleanUp, classPath, nodeId, plainPort }: Node,
  properties: Readonly<Record<string, string>>,
): Promise<KafkaNode> {
  const directory = await nodeDirectory();
  const node = new KafkaNode({
    version: VERSION,
    classPath,
    directory,
    nodeId,
    plainPort,
    heapMegabytes: HEAP_MEGABYTES,
  });
  cleanUp.after(() => node.remove());
  const all = {
    "node.id": String(nodeId),
    ...commonProperties(directory, VERSION),
    ...REPLICATION,
    ...properties,
  };
  // The controller's storage holds the cluster's beginning. That of a broker is a file of names.
  if (plainPort === undefined) await node.format(all);
  else await node.name(all);
  return node;
}

async function prepareBroker(
  node: Node & { readonly plainPort: number },
  { behindProxy, controllerPort }: { readonly behindProxy: number; readonly controllerPort: number },
): Promise<{ readonly broker: ClusterBroker; readonly plainPort: number }> {
  const { cleanUp, nodeId, plainPort } = node;
  const proxy = await startKafkaProxy({ port: 0, brokerPort: behindProxy });
  cleanUp.after(() => proxy.close());
  const process = await prepareNode(node, {
    "process.roles": "broker",
    listeners: `PLAINTEXT://127.0.0.1:${plainPort},PROXIED://127.0.0.1:${behindProxy}`,
    "advertised.listeners": `PLAINTEXT://127.0.0.1:${plainPort},PROXIED://127.0.0.1:${proxy.port}`,
    "controller.quorum.voters": `0@127.0.0.1:${controllerPort}`,
  });
  const broker = {
    nodeId,
    proxy,
    stop: () => process.stop(),
    kill: () => process.kill(),
    start: () => process.start(),
    freeze: () => process.freeze(),
    thaw: () => process.thaw(),
  };
  return { broker, plainPort };
}
