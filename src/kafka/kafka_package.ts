/**
 * The one place that knows @platformatic/kafka: it loads the package when a client is made (54 MiB that a gateway without
 * Kafka never pays) and casts its Node types away to the structural interfaces below. It must not decide anything.
 *
 * Only the package's connections and protocol codecs are used, not its Producer and Consumer: those retry, cache and
 * lose state on their own (READ_COMMITTED drops committed records, a fence leaves the object stuck, header names are
 * made unique). One fixed version of each request is spoken; every broker from 3.1 on understands all of them.
 */

/** One broker connection of the package. */
export interface PackageConnection {
  connect(host: string, port: number): Promise<void>;
  /** Waits for the end of a connect or of a repeated authentication. */
  ready(): Promise<void>;
  close(): Promise<void>;
  isConnected(): boolean;
  on(event: "error" | "close", listener: (error?: unknown) => void): unknown;
}

export interface ConnectionOptions {
  readonly connectTimeout: number;
  readonly requestTimeout: number;
  readonly maxInflights: number;
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string } | undefined;
  readonly tlsServerName?: string | undefined;
  readonly sasl?:
    | {
      readonly mechanism: string;
      readonly username?: string | undefined;
      readonly password?: string | undefined;
      readonly token?: (() => Promise<string> | string) | undefined;
    }
    | undefined;
}

/** A request codec with its response: rejects with the package's nested errors. */
interface Api<Arguments extends readonly unknown[], Response> {
  readonly async: (connection: PackageConnection, ...parameters: Arguments) => Promise<Response>;
  readonly key: number;
  readonly version: number;
}

export interface ApiVersionsResponse {
  readonly apiKeys: readonly { readonly apiKey: number; readonly minVersion: number; readonly maxVersion: number }[];
}

export interface MetadataResponse {
  readonly brokers: readonly { readonly nodeId: number; readonly host: string; readonly port: number }[];
  readonly controllerId: number;
  readonly topics: readonly {
    readonly errorCode: number;
    readonly name: string | null;
    readonly topicId: string;
    readonly isInternal: boolean;
    readonly partitions: readonly {
      readonly errorCode: number;
      readonly partitionIndex: number;
      readonly leaderId: number;
    }[];
  }[];
}

export interface PackageMessage {
  readonly topic: string;
  readonly partition: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  /** Keyed by the identity of the name's bytes, so that a repeated name stays. */
  readonly headers: ReadonlyMap<Uint8Array, Uint8Array | null> | undefined;
  readonly timestamp: bigint;
}

export interface ProduceOptions {
  readonly transactionalId: string;
  readonly producerId: bigint;
  readonly producerEpoch: number;
  readonly compression: "none" | "lz4" | "zstd";
  readonly sequences: { getWithDefault(key: string, fallback: number): number };
}

export interface ProduceResponse {
  readonly responses: readonly {
    readonly name: string;
    readonly partitionResponses: readonly {
      readonly index: number;
      readonly errorCode: number;
      readonly errorMessage: string | null;
    }[];
  }[];
}

export interface PackageRecord {
  readonly timestampDelta: bigint;
  readonly offsetDelta: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly (readonly [Uint8Array | null, Uint8Array | null])[];
}

export interface PackageBatch {
  readonly firstOffset: bigint;
  readonly magic: number;
  readonly attributes: number;
  readonly lastOffsetDelta: number;
  readonly firstTimestamp: bigint;
  readonly maxTimestamp: bigint;
  readonly producerId: bigint;
  readonly records: readonly PackageRecord[];
}

export interface PackageFetchedPartition {
  readonly partitionIndex: number;
  readonly errorCode: number;
  readonly highWatermark: bigint;
  readonly lastStableOffset: bigint;
  readonly logStartOffset: bigint;
  readonly abortedTransactions: readonly { readonly producerId: bigint; readonly firstOffset: bigint }[] | null;
  readonly records: readonly PackageBatch[] | null;
}

export interface FetchResponse {
  readonly errorCode: number;
  readonly responses: readonly {
    readonly topicId: string;
    readonly partitions: readonly PackageFetchedPartition[];
  }[];
}

export interface FetchTopic {
  readonly topicId: string;
  readonly partitions: readonly {
    readonly partition: number;
    readonly fetchOffset: bigint;
    readonly currentLeaderEpoch: number;
    readonly lastFetchedEpoch: number;
    readonly partitionMaxBytes: number;
  }[];
}

export interface TopicPartitions {
  readonly name: string;
  readonly partitions: readonly number[];
}

interface NoteworthyFailure {
  readonly errorCode: number;
}

/** What we use of the package. */
export interface KafkaPackage {
  readonly Connection: new (clientId: string, options: ConnectionOptions) => PackageConnection;
  readonly apiVersionsV3: { readonly api: Api<[name: string, version: string], ApiVersionsResponse> };
  readonly metadataV12: {
    readonly api: Api<[topics: readonly string[] | null, autoCreate: boolean, rights: boolean], MetadataResponse>;
  };
  readonly findCoordinatorV4: {
    readonly api: Api<
      [keyType: number, keys: readonly string[]],
      { readonly coordinators: readonly { readonly nodeId: number; readonly host: string; readonly port: number }[] }
    >;
  };
  readonly initProducerIdV4: {
    readonly api: Api<
      [transactionalId: string, timeoutMs: number, producerId: bigint, producerEpoch: number],
      { readonly producerId: bigint; readonly producerEpoch: number }
    >;
  };
  readonly addPartitionsToTxnV3: {
    readonly api: Api<
      [
        readonly {
          readonly transactionalId: string;
          readonly producerId: bigint;
          readonly producerEpoch: number;
          readonly topics: readonly TopicPartitions[];
        }[],
      ],
      NoteworthyFailure
    >;
  };
  readonly produceV9: {
    readonly api: Api<
      [acks: number, timeoutMs: number, messages: readonly PackageMessage[], options: ProduceOptions],
      ProduceResponse
    >;
  };
  readonly endTxnV3: {
    readonly api: Api<
      [transactionalId: string, producerId: bigint, producerEpoch: number, commit: boolean],
      NoteworthyFailure
    >;
  };
  readonly fetchV13: {
    readonly api: Api<
      [
        maxWaitMs: number,
        minBytes: number,
        maxBytes: number,
        isolation: number,
        sessionId: number,
        sessionEpoch: number,
        topics: readonly FetchTopic[],
        forgotten: readonly never[],
        rack: string,
      ],
      FetchResponse
    >;
  };
  readonly listOffsetsV7: {
    readonly api: Api<
      [
        replica: number,
        isolation: number,
        topics: readonly {
          readonly name: string;
          readonly partitions: readonly {
            readonly partitionIndex: number;
            readonly currentLeaderEpoch: number;
            readonly timestamp: bigint;
          }[];
        }[],
      ],
      { readonly topics: readonly { readonly partitions: readonly { readonly offset: bigint }[] }[] }
    >;
  };
  readonly createTopicsV7: {
    readonly api: Api<
      [
        topics: readonly {
          readonly name: string;
          readonly numPartitions: number;
          readonly replicationFactor: number;
          readonly assignments: readonly never[];
          readonly configs: readonly { readonly name: string; readonly value: string }[];
        }[],
        timeoutMs: number,
        validateOnly: boolean,
      ],
      unknown
    >;
  };
  readonly describeConfigsV4: {
    readonly api: Api<
      [
        resources: readonly {
          readonly resourceType: number;
          readonly resourceName: string;
          readonly configurationKeys: readonly string[] | null;
        }[],
        synonyms: boolean,
        documentation: boolean,
      ],
      {
        readonly results: readonly {
          readonly configs: readonly { readonly name: string; readonly value: string | null }[];
        }[];
      }
    >;
  };
  readonly describeProducersV0: {
    readonly api: Api<
      [topics: readonly { readonly name: string; readonly partitionIndexes: readonly number[] }[]],
      {
        readonly topics: readonly {
          readonly name: string;
          readonly partitions: readonly {
            readonly partitionIndex: number;
            readonly activeProducers: readonly {
              readonly producerId: bigint;
              readonly currentTxnStartOffset: bigint;
            }[];
          }[];
        }[];
      }
    >;
  };
}

/** Loads the package; the runtime caches the module. */
export async function loadKafkaPackage(): Promise<KafkaPackage> {
  // The package is typed with Node's Buffer and EventEmitter, which do not exist here; every member above was read in
  // its sources (2.12.1) and is exercised by the contract suite.
  return await import("@platformatic/kafka") as unknown as KafkaPackage;
}
