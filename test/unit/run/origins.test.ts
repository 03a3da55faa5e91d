/** Which web pages may connect over WebSocket. */

import assert from "node:assert/strict";
import { originCheck } from "../../../src/run/origins.ts";
import { test } from "../../support/test.ts";

const strangers = [
  "https://evil.example",
  "http://evil.example:8083",
  "http://localhost.evil.example",
  "null",
  "file://",
];
const ours = ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:8080", "HTTP://LocalHost"];

test("a listener on loopback lets in the pages of this machine only", () => {
  for (const host of ["127.0.0.1", "localhost", "::1"]) {
    const allows = originCheck(host, undefined);
    for (const origin of ours) assert.ok(allows(origin), origin);
    for (const origin of strangers) assert.ok(!allows(origin), origin);
  }
});

test("a listener for others lets in any page: it has to say who it is as everybody else", () => {
  const allows = originCheck("0.0.0.0", undefined);
  for (const origin of [...ours, ...strangers]) assert.ok(allows(origin), origin);
});

test("a list decides on every listener, and the case does not count", () => {
  for (const host of ["127.0.0.1", "0.0.0.0"]) {
    const allows = originCheck(host, ["https://a.example", "http://b.example:8080"]);
    assert.ok(allows("https://A.example"));
    assert.ok(allows("http://b.example:8080"));
    for (const origin of [...strangers, ...ours, "http://a.example", "http://b.example", "https://a.example:444"]) {
      assert.ok(!allows(origin), origin);
    }
    assert.ok(originCheck(host, ["*"])("https://evil.example"));
  }
});
