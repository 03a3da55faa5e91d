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
  /** One request. `parse` is the version's parser of the package; what it throws rejects. */
  send<Response>(
    apiKey: number,
    apiVersion: number,
    write: () => PackageWriter,
    parse: ResponseParser<Response>,
    requestHasTags: boolean,
    responseHasTags: boolean,
    callback: (error: unknown, response: Response) => void,
  ): void;
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

/** Opaque to us: handed from the package's codec to its connection. */
interface ResponseParser<Response> {
  (correlationId: number, apiKey: number, apiVersion: number, reader: never): Response;
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

/** Builds a request. An array's length is compact, and every element ends with tagged fields. */
export interface PackageWriter {
  append(bytes: Uint8Array): PackageWriter;
  appendString(value: string): PackageWriter;
  appendInt16(value: number): PackageWriter;
  appendInt32(value: number): PackageWriter;
  appendUnsignedVarInt(value: number): PackageWriter;
  appendArray<Element>(
    elements: readonly Element[],
    write: (writer: PackageWriter, element: Element) => void,
  ): PackageWriter;
  appendTaggedFields(): PackageWriter;
}

export interface PackageCompression {
  compressSync(bytes: Uint8Array): Uint8Array;
  readonly bitmask: number;
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

export interface AddPartitionsResponse {
  readonly resultsByTransaction: readonly {
    readonly topicResults: readonly {
      readonly name: string;
      readonly resultsByPartition: readonly { readonly partitionIndex: number; readonly partitionErrorCode: number }[];
    }[];
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
  /** Its requests are written by us (produce_request.ts). */
  readonly produceV9: {
    readonly api: { readonly key: number; readonly version: number };
    readonly parseResponse: ResponseParser<ProduceResponse>;
  };
  readonly Writer: { create(): PackageWriter };
  readonly crc32c: (bytes: Uint8Array) => number;
  readonly compressionsAlgorithms: { readonly lz4: PackageCompression; readonly zstd: PackageCompression };
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
