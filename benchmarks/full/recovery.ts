/** How long a start takes after a kill, with much in the log. The reference keeps nothing over a kill. */

import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Broker, ROOMY, startBroker, tributary } from "../brokers.ts";
import { median } from "../measure.ts";
import { residentBytes } from "../process_figures.ts";
import { fillWith, leaveWaiting } from "./grow.ts";
import { type Context, type FullScenario, mebibytes, type Section, whole } from "./section.ts";

const STARTS = 3;
const GIBIBYTE_MESSAGES = 950_000;

interface Content {
  readonly what: string;
  readonly max: number;
  readonly fill: (broker: Broker, count: number) => Promise<unknown>;
}

const CONTENTS: readonly Content[] = [
  { what: "empty log", max: 1, fill: () => Promise.resolve() },
  {
    what: "waiting messages of 1 KiB",
    max: GIBIBYTE_MESSAGES,
    fill: (broker, messages) => leaveWaiting(broker, { messages, payloadBytes: 1_024 }),
  },
  {
    what: "waiting messages of 64 bytes",
    max: 1_000_000,
    fill: (broker, messages) => leaveWaiting(broker, { messages, payloadBytes: 64 }),
  },
  {
    what: "retained messages",
    max: 1_000_000,
    fill: (broker, count) => fillWith(broker, { what: "retained", from: 0, count }),
  },
  { what: "sessions", max: 100_000, fill: (broker, count) => fillWith(broker, { what: "sessions", from: 0, count }) },
];

async function recovery(content: Content, context: Context): Promise<Section> {
  const count = context.scaled(content.max);
  let broker = await startBroker(tributary(context.runtime, ROOMY));
  try {
    await content.fill(broker, count);
    const starts: number[] = [];
    for (let start = 0; start < STARTS; start++) {
      broker = await broker.restart();
      starts.push(broker.startMs);
    }
    return {
      title: `recovery: SIGKILL, start with ${whole(count)} × ${content.what}`,
      head: ["", "Tributary"],
      rows: [
        [`start to first CONNACK, ms, median of ${STARTS}`, whole(median(starts))],
        ["data directory, MiB", mebibytes(directoryBytes(broker.directory))],
        ["resident afterwards, MiB", mebibytes(residentBytes(broker.pid))],
      ],
    };
  } finally {
    await broker.stop();
  }
}

function directoryBytes(directory: string): number {
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .reduce((sum, name) => sum + statSync(join(directory, name)).size, 0);
}

export const RECOVERY_SCENARIOS: readonly FullScenario[] = CONTENTS.map((content) => ({
  name: `recovery: ${content.what}`,
  run: (context: Context) => recovery(content, context),
}));
