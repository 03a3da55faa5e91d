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
  /** Of the time of a run over all targets. */
  readonly share: number;
  readonly create: () => FuzzTarget;
}[] = [
  {
    name: "codec",
    share: 4,
    create: () => new CodecTarget(),
  },
  {
    name: "connection",
    share: 4,
    create: () => new ConnectionTarget(),
  },
  {
    name: "routes",
    share: 1,
    create: () => new RoutesTarget(),
  },
  {
    name: "records",
    share: 1,
    create: () => new RecordsTarget(),
  },
  {
    name: "config",
    share: 1,
    create: () => new ConfigTarget(),
  },
  {
    name: "data",
    share: 3,
    create: () => new DataTarget(),
  },
  {
    name: "sockets",
    share: 1,
    create: () => new SocketsTarget(),
  },
  {
    name: "cycles",
    share: 1,
    create: () => new CyclesTarget(),
  },
  {
    name: "takeovers",
    share: 1,
    create: () => new TakeoversTarget(),
  },
];
