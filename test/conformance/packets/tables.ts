/** All tables of packet sequences by what they are about. Whoever adds a table adds it here; what runs them does not change. */
import type { Sequence } from "../../support/sequences.ts";
import { ACKNOWLEDGEMENTS } from "./acknowledgements.ts";
import { CONNECT_PROPERTIES } from "./connect_properties.ts";
import { CONNECTS } from "./connects.ts";
import { DELIVERIES } from "./deliveries.ts";
import { DISCONNECTS } from "./disconnects.ts";
import { FLOWS } from "./flows.ts";
import { PINGS } from "./pings.ts";
import { PUBLISHES } from "./publishes.ts";
import { SUBSCRIPTIONS } from "./subscriptions.ts";
import { WILLS } from "./wills.ts";

export const TABLES: ReadonlyMap<string, readonly Sequence[]> = new Map([
  ["connects", CONNECTS],
  ["properties of CONNECT", CONNECT_PROPERTIES],
  ["disconnects", DISCONNECTS],
  ["pings", PINGS],
  ["flows", FLOWS],
  ["publishes", PUBLISHES],
  ["acknowledgements", ACKNOWLEDGEMENTS],
  ["subscriptions", SUBSCRIPTIONS],
  ["deliveries", DELIVERIES],
  ["wills", WILLS],
]);
