/** The fuzz targets by name, each with its share of the time. */
import { CodecTarget } from "./codec.ts";
import { ConnectionTarget } from "./connection.ts";
import type { FuzzTarget } from "./target.ts";

export const targets: readonly {
  readonly name: string;
  /** Of the time of a run over all targets. */
  readonly share: number;
  readonly create: () => FuzzTarget;
}[] = [
  { name: "codec", share: 3, create: () => new CodecTarget() },
  { name: "connection", share: 3, create: () => new ConnectionTarget() },
];
