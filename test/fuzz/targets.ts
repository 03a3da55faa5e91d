/** The fuzz targets by name, each with its share of the time. */
import { CodecTarget } from "./codec.ts";
import { ConnectionTarget } from "./connection.ts";
import { ConfigTarget } from "./config.ts";
import { DataTarget } from "./data.ts";
import { RecordsTarget } from "./records.ts";
import { RoutesTarget } from "./routes.ts";
import { SocketsTarget } from "./sockets.ts";
import { CyclesTarget, TakeoversTarget } from "./storms.ts";
import type { FuzzTarget } from "./target.ts";

export const targets: readonly {
  readonly name: string;
  /** What must be so, as the name of a test. */
  readonly promise: string;
  /** Of the time of a run over all targets. */
  readonly share: number;
  readonly create: () => FuzzTarget;
}[] = [
  {
    name: "codec",
    promise:
      "whatever bytes come, the decoder reads or refuses them, the same in every split, and holds no more than came",
    share: 4,
    create: () => new CodecTarget(),
  },
  {
    name: "connection",
    promise: "whatever hostile clients send, honest ones notice nothing and nothing is left behind",
    share: 4,
    create: () => new ConnectionTarget(),
  },
  {
    name: "routes",
    promise: "any text is rules or errors with a place, and a rule reads backwards what it writes forwards",
    share: 1,
    create: () => new RoutesTarget(),
  },
  {
    name: "records",
    promise:
      "a message survives the way through Kafka, and any record is one that clients can read, a skip or a sentence",
    share: 1,
    create: () => new RecordsTarget(),
  },
  {
    name: "config",
    promise: "any environment is errors or a gateway that serves, whatever the limits, and shows no secret",
    share: 1,
    create: () => new ConfigTarget(),
  },
  {
    name: "data",
    promise: "a damaged data directory is refused with a sentence or serves what was published, and names what is gone",
    share: 3,
    create: () => new DataTarget(),
  },
  {
    name: "sockets",
    promise: "strangers on every port disturb nobody and are all gone at the end",
    share: 1,
    create: () => new SocketsTarget(),
  },
  {
    name: "cycles",
    promise: "QoS 2 packet identifiers go round and round and nothing stays",
    share: 1,
    create: () => new CyclesTarget(),
  },
  {
    name: "takeovers",
    promise: "two clients that take each other's session over and over leave one session",
    share: 1,
    create: () => new TakeoversTarget(),
  },
];
