/**
 * The HTTP side: health, configuration, metrics, losses. It reads through narrow interfaces and changes nothing; no
 * answer is meant for another site's pages.
 */

import { type Context, Hono } from "hono";
import * as v from "valibot";
import { LIMITS } from "../limits.ts";
import type { Loss } from "../ports.ts";
import { METRICS_CONTENT_TYPE } from "../telemetry/metrics.ts";
import { type AuthorityOptions, createAuthority } from "./authority.ts";

/** What the gateway knows about its own health. Sentences are for the person at the site. */
export interface HealthSource {
  /** From event loop and last commit: false means that only a restart helps. */
  live(): { readonly ok: boolean; readonly reason: string | undefined };
  /** Whether a publish can be acknowledged now. */
  ready(): { readonly ok: boolean; readonly reasons: readonly string[] };
  /** What does not work as it should, although publishes are acknowledged. */
  degraded(): readonly string[];
  /** Age of the oldest message that waits for Kafka; undefined in embedded mode. */
  lagSeconds(): number | undefined;
}

/** A variable with its effective value, secrets masked. */
export interface ShownSetting {
  readonly variable: string;
  readonly value: string | undefined;
  readonly origin: string;
}

export interface HttpAppOptions extends AuthorityOptions {
  readonly version: string;
  readonly health: HealthSource;
  /** With a lag beyond it `/readyz` is 503; undefined: never for that reason. */
  readonly readyLagSeconds: number | undefined;
  readonly metrics: { text(): string };
  readonly settings: readonly ShownSetting[];
  /** Newest first. */
  readonly readLosses: (options: { readonly countMax: number }) => Promise<readonly Loss[]>;
  /** Told of whatever made an answer fail: the client learns nothing of it. */
  readonly onFault: (fault: unknown) => void;
}

/** What an HTTP listener needs of the app. */
export interface HttpApp {
  readonly fetch: (request: Request) => Response | Promise<Response>;
}

const PATHS = ["/livez", "/readyz", "/config", "/metrics", "/losses"] as const;

/** No page of any site may embed, run, cache or read what is answered here. */
const SAFE_HEADERS: Readonly<Record<string, string>> = {
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

const LIMIT_EXPECTED = `limit: expected a whole number from 1 to ${LIMITS.lossesPageMax}`;

const LossesQuery = v.strictObject({
  limit: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^\d{1,9}$/, LIMIT_EXPECTED),
      v.transform(Number),
      v.minValue(1, LIMIT_EXPECTED),
      v.maxValue(LIMITS.lossesPageMax, LIMIT_EXPECTED),
    ),
    "100",
  ),
}, ({ received }) => `unknown parameter ${received.slice(0, 64)}; limit is the only one`);

export function createHttpApp(options: HttpAppOptions): HttpApp {
  const { health, metrics, settings, version } = options;
  const mayRead = createAuthority(options);
  const app = new Hono();

  app.use(async (context, next) => {
    await next();
    for (const [name, value] of Object.entries(SAFE_HEADERS)) context.header(name, value);
  });

  app.get("/livez", (context) => {
    const { ok, reason } = health.live();
    const details = mayRead(context.req.raw) && reason !== undefined ? { reason } : {};
    return context.json({ status: ok ? "alive" : "stuck", ...details }, ok ? 200 : 503);
  });

  app.get("/readyz", (context) => {
    const { ok, reasons } = readiness(options);
    const details = mayRead(context.req.raw) ? { reasons, degraded: health.degraded() } : {};
    return context.json({ status: ok ? "ready" : "not ready", ...details }, ok ? 200 : 503);
  });

  for (const path of ["/config", "/metrics", "/losses"]) {
    app.use(path, async (context, next) => {
      if (mayRead(context.req.raw)) {
        await next();
        return;
      }
      if (options.token === undefined) {
        return context.json({ error: "there is no token: ask this machine by the name localhost or 127.0.0.1" }, 403);
      }
      context.header("www-authenticate", 'Bearer realm="tributary"');
      return context.json({ error: "expected the token: Authorization: Bearer <token>" }, 401);
    });
  }
  app.get("/config", (context) => {
    const shown = settings.map(({ variable, value, origin }) => ({ variable, value: value ?? null, origin }));
    return context.json({ version, settings: shown });
  });
  app.get("/metrics", (context) => context.body(metrics.text(), 200, { "content-type": METRICS_CONTENT_TYPE }));
  app.get("/losses", (context) => answerLosses(context, options));

  for (const path of PATHS) {
    app.all(path, (context) => context.json({ error: "expected GET or HEAD" }, 405, { allow: "GET, HEAD" }));
  }
  app.notFound((context) => context.json({ error: `no such path; there are ${PATHS.join(", ")}` }, 404));
  app.onError((fault, context) => {
    options.onFault(fault);
    return context.json({ error: "internal error" }, 500);
  });
  return { fetch: (request) => app.fetch(request) };
}

function readiness(
  { health, readyLagSeconds }: HttpAppOptions,
): { readonly ok: boolean; readonly reasons: readonly string[] } {
  const { ok, reasons } = health.ready();
  const lagSeconds = health.lagSeconds();
  if (readyLagSeconds === undefined || lagSeconds === undefined || lagSeconds <= readyLagSeconds) {
    return { ok, reasons };
  }
  const behind = `the uplink is ${Math.floor(lagSeconds)} s behind, more than the ${readyLagSeconds} s allowed`;
  return { ok: false, reasons: [...reasons, behind] };
}

async function answerLosses(
  context: Context,
  { readLosses, onFault }: Pick<HttpAppOptions, "readLosses" | "onFault">,
): Promise<Response> {
  const repeated = Object.entries(context.req.queries()).find(([, values]) => values.length > 1);
  if (repeated !== undefined) return context.json({ error: `${repeated[0].slice(0, 64)}: expected once` }, 400);
  const query = v.safeParse(LossesQuery, context.req.query());
  if (!query.success) return context.json({ error: query.issues.map(({ message }) => message).join("; ") }, 400);
  let losses: readonly Loss[];
  try {
    losses = await readLosses({ countMax: query.output.limit });
  } catch (fault) {
    onFault(fault);
    return context.json({ error: "the ledger cannot be read now" }, 503);
  }
  return context.json({
    losses: losses.map(({ atMs, clientId, topicName, count, reason, detail }) => ({
      at: new Date(atMs).toISOString(),
      clientId,
      topicName,
      count,
      reason,
      detail,
    })),
  });
}
