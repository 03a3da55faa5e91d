/**
 * The tables of packet sequences on the running gateway: over a real socket, where a close with unread input would make the
 * system send RST and the client would never see the DISCONNECT.
 */

import { TABLES } from "../conformance/packets/tables.ts";
import { e2eTest, startGateway } from "../support/gateway_process.ts";
import { runSequencesOn } from "../support/sequences.ts";

e2eTest("Every packet sequence gets exactly its answer over a connection", async (t) => {
  const gateway = await startGateway(t);
  for (const table of TABLES.values()) await runSequencesOn(t, gateway.port(), table);
});
