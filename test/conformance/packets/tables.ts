/** All tables of packet sequences by what they are about. Whoever adds a table adds it here; the tests that run them do not change. */
import type { Sequence } from "../../support/sequences.ts";
import { PINGS } from "./pings.ts";

export const TABLES: ReadonlyMap<string, readonly Sequence[]> = new Map([
  ["pings", PINGS],
]);
