// A full log is said once, also when it comes and goes, and that there is room again only when that holds.

import assert from "node:assert/strict";
import { watchSpace } from "../../../src/run/space_watch.ts";
import { VirtualPlatform } from "../../simulation/virtual_clock.ts";
import { TestProgram } from "../../support/program.ts";
import { test } from "../../support/test.ts";

test("a log without room is said once, and again when it has had room for a while", () => {
  const platform = new VirtualPlatform({ seed: 1 });
  const said: string[] = [];
  const log = { diskFull: false, full: false };
  const events = {
    info: (name: string) => void said.push(name),
    warn: (name: string, text: string) => void said.push(`${name} ${text.split(":")[0] ?? ""}`),
  };
  const stop = watchSpace(log, { clock: platform.clock, events });
  const pass = (ms: number): void => platform.clock.advance(ms);
  pass(5_000);
  assert.deepEqual(said, []);
  log.full = true;
  pass(3_000);
  for (let flips = 0; flips < 4; flips++) {
    log.full = !log.full;
    pass(2_000);
  }
  assert.deepEqual(said, ["log.full The log has reached its budget"]);
  log.full = false;
  pass(60_000);
  assert.deepEqual(said.slice(1), ["log.room"]);
  Object.assign(log, { diskFull: true, full: true });
  pass(1_000);
  assert.deepEqual(said.slice(2), ["log.full The disk is full"]);
  stop();
  log.diskFull = false;
  pass(60_000);
  assert.equal(said.length, 3, "nothing is said after the end");
});

test("whoever starts on a full disk reads it among the first lines", async (t) => {
  const first = await TestProgram.ready(t);
  await first.stop();
  first.disk.setDiskFull(true);
  const program = await TestProgram.ready(t, { disk: first.disk });
  assert.match(program.stderr, /"event":"log\.full"/);
  assert.match(program.stderr, /The disk is full: publishes that need the log are refused/);
});
