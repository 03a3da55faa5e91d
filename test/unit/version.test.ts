/** The version that the program prints is the package's. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { VERSION } from "../../src/version.ts";
import { test } from "../support/test.ts";

test("the version in the source is the one in package.json", () => {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  const { version } = JSON.parse(text) as { version: string }; // npm sees to its shape
  assert.equal(VERSION, version);
});
