/** Every table of packet sequences, on gateways in this process. The same tables over TCP: test/e2e/packets.test.ts. */
import { testSequences } from "../../support/sequences.ts";
import { TABLES } from "./tables.ts";

for (const table of TABLES.values()) testSequences(table);
