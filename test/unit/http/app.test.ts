// The HTTP app, asked with Requests: who sees what, which status, and that nothing else is answered.

import assert from "node:assert/strict";
import { isLoopback } from "../../../src/config/values.ts";
import { createHttpApp, type HealthSource, type HttpAppOptions } from "../../../src/http/app.ts";
import { equalTexts } from "../../../src/http/authority.ts";
import { LIMITS } from "../../../src/limits.ts";
import type { Loss } from "../../../src/ports.ts";
import { test } from "../../support/test.ts";

const TOKEN = "0123456789abcdef";
const AUTHORIZED = { authorization: `Bearer ${TOKEN}` };
const LOSS: Loss = {
  atMs: Date.UTC(2026, 0, 2, 3, 4, 5),
  clientId: "pump-1",
  topicName: "a/b",
  count: 3,
  reason: "drop-oldest",
  detail: "the log was full",
};

const WELL: HealthSource = {
  live: () => ({ ok: true, reason: undefined }),
  ready: () => ({ ok: true, reasons: [] }),
  degraded: () => [],
  lagSeconds: () => undefined,
};

interface Asked {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** Of a JSON body. */
  readonly body: unknown;
}

type Ask = (path: string, init?: RequestInit & { readonly host?: string }) => Promise<Asked>;

function appWith(options: Partial<HttpAppOptions> = {}): { readonly ask: Ask; readonly faults: unknown[] } {
  const faults: unknown[] = [];
  const app = createHttpApp({
    version: "0.1.0",
    health: WELL,
    readyLagSeconds: undefined,
    metrics: { text: () => "tributary_connections 1\n" },
    settings: [{ variable: "X", value: "1", origin: "default" }, {
      variable: "Y",
      value: undefined,
      origin: "default",
    }],
    readLosses: ({ countMax }) => Promise.resolve(Array.from({ length: Math.min(countMax, 2) }, () => LOSS)),
    onFault: (fault) => void faults.push(fault),
    token: TOKEN,
    host: "0.0.0.0",
    isLoopback,
    ...options,
  });
  const ask: Ask = async (path, { host = "127.0.0.1:8080", ...init } = {}) => {
    const response = await app.fetch(new Request(`http://${host}${path}`, init));
    const text = await response.text();
    const json = response.headers.get("content-type")?.startsWith("application/json") === true;
    return {
      status: response.status,
      headers: response.headers,
      text,
      body: json && text !== "" ? JSON.parse(text) : undefined,
    };
  };
  return { ask, faults };
}

test("/livez is 200 while the process makes progress, else 503 with the reason for those who may know", async () => {
  assert.equal((await appWith().ask("/livez")).status, 200);
  const reason = "the log has not committed for 40 s";
  const { ask } = appWith({ health: { ...WELL, live: () => ({ ok: false, reason }) } });
  const stranger = await ask("/livez");
  assert.deepEqual([stranger.status, stranger.body], [503, { status: "stuck" }]);
  const operator = await ask("/livez", { headers: AUTHORIZED });
  assert.deepEqual([operator.status, operator.body], [503, { status: "stuck", reason }]);
});

test("/readyz is 200 while a publish can be acknowledged, and says what is degraded", async () => {
  const degraded = ["Kafka cannot be reached: k1:9092 refused"];
  const { ask } = appWith({ health: { ...WELL, degraded: () => degraded } });
  assert.deepEqual((await ask("/readyz")).body, { status: "ready" });
  const operator = await ask("/readyz", { headers: AUTHORIZED });
  assert.deepEqual([operator.status, operator.body], [200, { status: "ready", reasons: [], degraded }]);
});

test("/readyz is 503 when a publish cannot be acknowledged", async () => {
  const reasons = ["the log is full"];
  const { ask } = appWith({ health: { ...WELL, ready: () => ({ ok: false, reasons }) } });
  const answer = await ask("/readyz", { headers: AUTHORIZED });
  assert.deepEqual([answer.status, answer.body], [503, { status: "not ready", reasons, degraded: [] }]);
});

test("/readyz is 503 for a lag only past the configured seconds", async () => {
  const cases: [number | undefined, number | undefined, number][] = [
    [undefined, 1e9, 200],
    [60, undefined, 200],
    [60, 60, 200],
    [60, 60.5, 503],
  ];
  for (const [readyLagSeconds, lag, status] of cases) {
    const { ask } = appWith({ readyLagSeconds, health: { ...WELL, lagSeconds: () => lag } });
    const answer = await ask("/readyz", { headers: AUTHORIZED });
    assert.equal(answer.status, status, `${readyLagSeconds} ${lag}`);
    assert.equal(/behind/.test(answer.text), status === 503);
  }
});

test("off loopback configuration, metrics and losses need the token", async () => {
  const { ask } = appWith();
  for (const path of ["/config", "/metrics", "/losses"]) {
    for (
      const authorization of [
        undefined,
        "",
        TOKEN,
        `Basic ${TOKEN}`,
        "Bearer ",
        `Bearer ${TOKEN}x`,
        "Bearer 0123456789abcdeX",
      ]
    ) {
      const answer = await ask(path, authorization === undefined ? {} : { headers: { authorization } });
      assert.equal(answer.status, 401, `${path} ${authorization}`);
      assert.match(answer.headers.get("www-authenticate") ?? "", /^Bearer/);
      assert.doesNotMatch(answer.text, /pump-1|tributary_connections|settings/);
    }
    assert.equal((await ask(path, { headers: AUTHORIZED })).status, 200, path);
    assert.equal((await ask(path, { headers: { authorization: `bearer ${TOKEN}` } })).status, 200, path);
  }
});

test("on loopback no token is needed by a name of this machine, by any other name it is", async () => {
  const { ask } = appWith({ host: "127.0.0.1" });
  for (const host of ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "localhost"]) {
    assert.equal((await ask("/config", { host })).status, 200, host);
  }
  for (const host of ["evil.example", "127.0.0.1.evil.example:8080", "localhost.evil.example"]) {
    assert.equal((await ask("/config", { host })).status, 401, host);
    assert.equal((await ask("/config", { host, headers: AUTHORIZED })).status, 200, host);
    assert.deepEqual((await ask("/readyz", { host })).body, { status: "ready" });
  }
  const closed = appWith({ host: "::1", token: undefined });
  assert.equal((await closed.ask("/metrics", { host: "evil.example" })).status, 403);
  assert.equal((await closed.ask("/metrics")).status, 200);
});

test("the answers hold what they promise", async () => {
  const { ask } = appWith({ host: "localhost" });
  assert.deepEqual((await ask("/config")).body, {
    version: "0.1.0",
    settings: [{ variable: "X", value: "1", origin: "default" }, { variable: "Y", value: null, origin: "default" }],
  });
  const metrics = await ask("/metrics");
  assert.equal(metrics.text, "tributary_connections 1\n");
  assert.match(metrics.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
  const { atMs: _, ...loss } = LOSS;
  assert.deepEqual((await ask("/losses?limit=1")).body, { losses: [{ at: "2026-01-02T03:04:05.000Z", ...loss }] });
});

test("the limit of losses is checked", async () => {
  const asked: number[] = [];
  const { ask } = appWith({
    host: "localhost",
    readLosses: ({ countMax }) => {
      asked.push(countMax);
      return Promise.resolve([]);
    },
  });
  for (const query of ["", "?limit=1", `?limit=${LIMITS.lossesPageMax}`]) {
    assert.equal((await ask(`/losses${query}`)).status, 200, query);
  }
  assert.deepEqual(asked, [100, 1, LIMITS.lossesPageMax]);
  for (
    const query of [
      "limit=0",
      `limit=${LIMITS.lossesPageMax + 1}`,
      "limit=-1",
      "limit=1e2",
      "limit=",
      "limit=1&limit=2",
      "since=1",
    ]
  ) {
    const answer = await ask(`/losses?${query}`);
    assert.equal(answer.status, 400, query);
    assert.match(answer.text, /limit/);
  }
  assert.equal(asked.length, 3);
});

test("unknown paths, other methods and traversal are refused in JSON", async () => {
  const { ask } = appWith({ host: "localhost" });
  for (
    const path of ["/", "/metrics/", "/config/x", "/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd", "/LIVEZ", "//livez"]
  ) {
    const answer = await ask(path);
    assert.equal(answer.status, 404, path);
    assert.match(answer.text, /"error"/);
  }
  for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"]) {
    for (const path of ["/livez", "/readyz", "/config", "/metrics", "/losses"]) {
      const answer = await ask(path, { method });
      assert.equal(answer.status, 405, `${method} ${path}`);
      assert.equal(answer.headers.get("allow"), "GET, HEAD");
    }
  }
  const head = await ask("/livez", { method: "HEAD" });
  assert.deepEqual([head.status, head.text], [200, ""]);
});

test("no other site's page can read or embed an answer", async () => {
  const { ask } = appWith();
  for (const path of ["/livez", "/config", "/nothing"]) {
    const { headers } = await ask(path, { headers: { origin: "https://evil.example" } });
    assert.equal(headers.get("access-control-allow-origin"), null);
    assert.equal(headers.get("x-content-type-options"), "nosniff");
    assert.equal(headers.get("cross-origin-resource-policy"), "same-origin");
    assert.equal(headers.get("cache-control"), "no-store");
    assert.match(headers.get("content-security-policy") ?? "", /default-src 'none'/);
  }
});

test("a fault is reported inside and not told outside", async () => {
  const fault = new Error("secret detail");
  const failing = appWith({ host: "localhost", readLosses: () => Promise.reject(fault) });
  const losses = await failing.ask("/losses");
  assert.equal(losses.status, 503);
  const broken = appWith({
    host: "localhost",
    metrics: {
      text: () => {
        throw fault;
      },
    },
  });
  const metrics = await broken.ask("/metrics");
  assert.equal(metrics.status, 500);
  assert.doesNotMatch(losses.text + metrics.text, /secret/);
  assert.deepEqual([...failing.faults, ...broken.faults], [fault, fault]);
});

test("texts are equal only when all characters are", () => {
  assert.ok(equalTexts("abc", "abc"));
  for (const shown of ["", "ab", "abcd", "abd", "xbc", "abcabc"]) assert.ok(!equalTexts(shown, "abc"), shown);
});
