/** What no code of ours can do without: system calls, copies and syncs, measured like the steps of a message. */

import { fdatasyncSync, openSync, unlinkSync, writeSync } from "node:fs";
import process from "node:process";
import type { MicroCase } from "./timing.ts";

const SMALL_BYTES = 64;
const PAGE_BYTES = 4_096;
const COPIED_BYTES = 65_536;

const SYSTEM_CALL: MicroCase = {
  name: `floor: a system call that moves ${SMALL_BYTES} bytes`,
  prepare: () => {
    const nowhere = openSync("/dev/null", "w");
    const bytes = new Uint8Array(SMALL_BYTES);
    return () => writeSync(nowhere, bytes);
  },
};

const COPY: MicroCase = {
  name: `floor: copy ${SMALL_BYTES} bytes, of ${COPIED_BYTES.toLocaleString("en")}`,
  per: COPIED_BYTES / SMALL_BYTES,
  prepare: () => {
    const [from, to] = [new Uint8Array(COPIED_BYTES), new Uint8Array(COPIED_BYTES)];
    return () => to.set(from);
  },
};

const SYNC: MicroCase = {
  name: `floor: make ${PAGE_BYTES.toLocaleString("en")} bytes durable`,
  prepare: () => {
    // Here and not among temporary files, which may be on no disk. Nothing is left of it.
    const path = `${process.cwd()}/.floor-${process.pid}`;
    const file = openSync(path, "w");
    unlinkSync(path);
    const bytes = new Uint8Array(PAGE_BYTES);
    return () => {
      writeSync(file, bytes, 0, PAGE_BYTES, 0);
      fdatasyncSync(file);
    };
  },
};

export const FLOOR_CASES: readonly MicroCase[] = [SYSTEM_CALL, COPY, SYNC];
