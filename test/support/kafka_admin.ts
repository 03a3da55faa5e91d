/**
 * What an administrator does to a Kafka under a running gateway: topics, their settings, rights; and what another
 * application writes in transactions. Through the client library as anybody uses it: nothing of our own Kafka code.
 */

import {
  AclOperations,
  AclPermissionTypes,
  Admin,
  ConfigResourceTypes,
  IncrementalAlterConfigOperationTypes,
  Producer,
  ResourcePatternTypes,
  ResourceTypes,
  stringSerializers,
} from "@platformatic/kafka";
import { eventually } from "./wait.ts";

const DEADLINE_MS = 30_000;

const OPERATIONS = { read: AclOperations.READ, write: AclOperations.WRITE, describe: AclOperations.DESCRIBE } as const;

type Acl = Parameters<Admin["createAcls"]>[0]["creations"][number];

export interface Grant {
  readonly user: string;
  readonly operation: keyof typeof OPERATIONS;
  /** A Kafka topic, or the transactional id. */
  readonly name: string;
  readonly kind?: "topic" | "transactional-id";
}

export class KafkaAdmin {
  readonly #bootstrap: readonly string[];

  constructor(bootstrap: string) {
    this.#bootstrap = bootstrap.split(",");
  }

  async createTopic(kafkaTopic: string, partitions: number): Promise<void> {
    await this.#ask((admin) => admin.createTopics({ topics: [kafkaTopic], partitions, replicas: -1 }));
  }

  async deleteTopic(kafkaTopic: string): Promise<void> {
    await this.#ask(async (admin) => {
      await admin.deleteTopics({ topics: [kafkaTopic] });
      // The controller has answered; a broker that does not know yet still takes records, and deletes them with the rest.
      const isGone = async (): Promise<boolean> => !(await admin.listTopics()).includes(kafkaTopic);
      await eventually(isGone, DEADLINE_MS, `topic ${kafkaTopic} is gone`);
    });
  }

  async configure(kafkaTopic: string, name: string, value: string): Promise<void> {
    const configs = [{ name, value, configOperation: IncrementalAlterConfigOperationTypes.SET }];
    await this.#ask((admin) =>
      admin.incrementalAlterConfigs({
        resources: [{ resourceType: ConfigResourceTypes.TOPIC, resourceName: kafkaTopic, configs }],
      })
    );
  }

  async grant(grants: readonly Grant[]): Promise<void> {
    await this.#ask((admin) => admin.createAcls({ creations: grants.map(aclOf) }));
  }

  async revoke(grants: readonly Grant[]): Promise<void> {
    await this.#ask((admin) => admin.deleteAcls({ filters: grants.map(aclOf) }));
  }

  /** Writes the records in one transaction of another application, and leaves it open until it is decided. */
  async begin(
    transactionalId: string,
    kafkaTopic: string,
    records: readonly (readonly [key: string, value: string])[],
  ): Promise<OpenTransaction> {
    const producer = new Producer({
      clientId: "another-application",
      bootstrapBrokers: [...this.#bootstrap],
      serializers: stringSerializers,
      transactionalId,
      idempotent: true,
      producerId: -1n,
      producerEpoch: -1,
    });
    const transaction = await producer.beginTransaction();
    await transaction.send({ messages: records.map(([key, value]) => ({ topic: kafkaTopic, key, value })) });
    const end = async (decide: () => Promise<void>): Promise<void> => {
      await decide();
      await producer.close();
    };
    return { commit: () => end(() => transaction.commit()), abort: () => end(() => transaction.abort()) };
  }

  async #ask<T>(use: (admin: Admin) => Promise<T>): Promise<T> {
    const admin = new Admin({ clientId: "administrator", bootstrapBrokers: [...this.#bootstrap] });
    try {
      return await use(admin);
    } finally {
      await admin.close();
    }
  }
}

export interface OpenTransaction {
  commit(): Promise<void>;
  abort(): Promise<void>;
}

function aclOf({ user, operation, name, kind = "topic" }: Grant): Acl {
  return {
    resourceType: kind === "topic" ? ResourceTypes.TOPIC : ResourceTypes.TRANSACTIONAL_ID,
    resourceName: name,
    resourcePatternType: ResourcePatternTypes.LITERAL,
    principal: `User:${user}`,
    host: "*",
    operation: OPERATIONS[operation],
    permissionType: AclPermissionTypes.ALLOW,
  };
}
