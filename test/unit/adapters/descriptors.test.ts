/** The arithmetic of the descriptor limit; reading the real one is seen in the conformance suite of the process. */

import assert from "node:assert/strict";
import { connectionsAllowed, descriptorsMax, parseProcLimits } from "../../../adapters/common/descriptors.ts";
import { test } from "../../support/test.ts";

test("the soft limit is read from Linux's table", () => {
  const table = "Limit                     Soft Limit           Hard Limit           Units\n" +
    "Max processes             127235               127235               processes\n" +
    "Max open files            1024                 524288               files\n";
  assert.equal(parseProcLimits(table), 1024);
  assert.equal(parseProcLimits(table.replace("1024  ", "unlimited")), undefined);
  assert.equal(parseProcLimits(""), undefined);
});

test("connections leave a tenth of the descriptors, and never less than 96", () => {
  assert.equal(connectionsAllowed(1_048_576), 943_718);
  assert.equal(connectionsAllowed(1024), 921);
  assert.equal(connectionsAllowed(256), 160);
  assert.equal(connectionsAllowed(64), 1);
});

test("this machine tells its limit", () => {
  const limit = descriptorsMax();
  assert.ok(limit !== undefined && limit >= 64, String(limit));
});
