/** Makes a broker's burden grow step by step and measures the same flow at each step: one curve for each broker. */

import type { Broker, BrokerKind } from "../brokers.ts";
import type { FillResult, FillSpec, FlowResult, OpenResult } from "../load/spec.ts";
import { type Held, holdLoad, runLoad } from "../load_process.ts";
import { withBrokers } from "../measure.ts";
import { residentBytes } from "../process_figures.ts";

export interface GrowthPoint {
  /** How much of it there was. */
  readonly size: number;
  readonly brokerMicros: number;
  readonly perSecond: number;
  readonly residentBytes: number;
  readonly isFaultless: boolean;
}

export interface Growth {
  readonly name: string;
  readonly points: readonly GrowthPoint[];
  /** Resident memory for one more of it, between the first step and the last. */
  readonly bytesEach: number;
}

/** Adds to what is there; what it returns is released at the end. */
export type Grow = (
  broker: Broker,
  step: { readonly from: number; readonly count: number },
) => Promise<Held | undefined>;

export type Measured = FlowResult | OpenResult;

export async function measureGrowth(
  kinds: readonly BrokerKind[],
  options: {
    readonly sizes: readonly number[];
    readonly grow: Grow;
    readonly measure: (broker: Broker, size: number) => Promise<Measured>;
  },
): Promise<readonly Growth[]> {
  const growths: Growth[] = [];
  for (const kind of kinds) {
    const points = await withBrokers([kind], async ([broker]) => {
      if (broker === undefined) throw new Error("No broker runs");
      return await growOne(broker, options);
    });
    const [first, last] = [points[0], points.at(-1)];
    const bytesEach = first === undefined || last === undefined || last.size === first.size
      ? Number.NaN
      : (last.residentBytes - first.residentBytes) / (last.size - first.size);
    growths.push({ name: kind.name, points, bytesEach });
  }
  return growths;
}

async function growOne(
  broker: Broker,
  options: Parameters<typeof measureGrowth>[1],
): Promise<GrowthPoint[]> {
  const held: Held[] = [];
  const points: GrowthPoint[] = [];
  let size = 0;
  try {
    // Before the first point as after every other: memory that the flow itself takes is in all of them.
    await options.measure(broker, 0);
    for (const next of [...new Set(options.sizes)]) {
      const added = next > size ? await options.grow(broker, { from: size, count: next - size }) : undefined;
      if (added !== undefined) held.push(added);
      size = next;
      const resident = residentBytes(broker.pid);
      const result = await options.measure(broker, size);
      points.push({
        size,
        brokerMicros: result.brokerCpuMicros / result.deliveries,
        perSecond: result.deliveries / result.seconds,
        residentBytes: resident,
        isFaultless: result.lost + result.duplicates + result.reordered === 0,
      });
    }
  } finally {
    for (const one of held.reverse()) await one.release();
  }
  return points;
}

/** Fills with what does not need to stay connected. */
export async function fillWith(
  broker: Broker,
  fill: Pick<FillSpec, "what" | "from" | "count">,
): Promise<FillResult> {
  return await runLoad<FillResult>({ kind: "fill", target: broker.target(), hold: false, ...fill });
}

/** Fills with what lives as long as its connections. */
export function holdWith(broker: Broker, fill: Pick<FillSpec, "what" | "from" | "count">): Promise<Held> {
  return holdLoad({ kind: "fill", target: broker.target(), ...fill });
}

/** Messages that wait for a session that does not come. */
export async function leaveWaiting(
  broker: Broker,
  options: { readonly messages: number; readonly payloadBytes: number },
): Promise<FlowResult> {
  return await runLoad<FlowResult>({
    kind: "flow",
    target: broker.target(),
    publishers: 50,
    subscribers: 1,
    qos: 1,
    window: 20,
    persistent: true,
    absent: true,
    leaveWaiting: true,
    warmUpMs: 0,
    measureMs: 0,
    ...options,
  });
}
