/**
 * A real file system of a few MiB for tests, in memory, that fills up, and that somebody else can fill. Mounting needs
 * root; where there is none, a test file runs itself again as root of a user namespace of its own.
 */

import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import process from "node:process";
import { temporaryDirectory } from "./gateway_process.ts";
import { test, type TestContext } from "./test.ts";

/** Set for the run inside a user namespace, which must not try another. */
const INSIDE = "TRIBUTARY_TEST_IN_NAMESPACE";
const RERUN_TIMEOUT_MS = 300_000;
const BLOCK_BYTES = 64 * 1024;

export interface SmallDisk {
  readonly path: string;
  readonly freeBytes: number;
  /** Writes a file of somebody else's that leaves so many bytes free. */
  fill(leaveBytes: number): void;
  /** Removes that file. */
  clear(): void;
}

function mountsHere(): boolean {
  return process.platform === "linux" && process.getuid?.() === 0 &&
    spawnSync("unshare", ["-m", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/tmp"]).status === 0;
}

/**
 * Declares the tests of a file that need small disks: here when this process may mount, else by running the file again
 * in a user namespace. Where neither can be had they are skipped loudly, or fail under CI=true.
 */
export function withSmallDisks(file: string, declare: () => void): void {
  if (mountsHere()) return declare();
  test("small disks, in a user namespace", { timeout: RERUN_TIMEOUT_MS }, (t) => {
    const mayMap = process.env[INSIDE] === undefined && spawnSync("unshare", ["-rm", "true"]).status === 0;
    if (!mayMap) {
      const text = "no file system can be mounted: run as root, or where `unshare -rm` works";
      if (process.env["CI"] === "true") throw new Error(`Cannot run this test: ${text}`);
      t.skip(text);
      return;
    }
    // The marks of an outer test runner would make the inner one report to it.
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const command = ["-rm", process.execPath, "--test", "--test-reporter=tap", file];
    const { status, stdout } = spawnSync("unshare", command, { encoding: "utf8", env: { ...env, [INSIDE]: "1" } });
    if (status !== 0) throw new Error(`The tests failed in their namespace:\n${stdout}`);
  });
}

/** Mounts a new one, for as long as the test runs. */
export function mountSmallDisk(t: Pick<TestContext, "after">, bytes: number): SmallDisk {
  const path = `${temporaryDirectory(t)}/disk`;
  mkdirSync(path);
  run("mount", ["-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", path]);
  // Lazily: clean-ups run last in, first out, and the gateways on it are gone by then, but a shell may look.
  t.after(() => run("umount", ["-l", path]));
  const other = `${path}/somebody-elses`;
  const freeBytes = (): number => {
    const disk = statfsSync(path);
    return disk.bavail * disk.bsize;
  };
  return {
    path,
    get freeBytes(): number {
      return freeBytes();
    },
    fill(leaveBytes: number): void {
      const block = new Uint8Array(BLOCK_BYTES).fill(0x2a);
      for (let left = freeBytes() - leaveBytes; left > 0; left -= block.length) {
        writeFileSync(other, block.subarray(0, Math.min(left, block.length)), { flag: "a" });
      }
    },
    clear: () => rmSync(other, { force: true }),
  };
}

function run(program: string, parameters: readonly string[]): void {
  const { status, stderr } = spawnSync(program, parameters, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} ${parameters.join(" ")}: ${stderr}`);
}
