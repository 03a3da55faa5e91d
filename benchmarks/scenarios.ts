/** What is measured as flows: the scenarios of the short bench and of the full one, as data. */

/** A flow of messages; every publisher's messages go to every subscriber. */
export interface Scenario {
  readonly name: string;
  readonly publishers: number;
  readonly subscribers: number;
  readonly qos: 0 | 1 | 2;
  readonly payloadBytes: number;
  /** Messages under way at once, per publisher. */
  readonly window: number;
  readonly persistent: boolean;
  /** The subscribers are away while messages are published, and come for them afterwards. */
  readonly absent?: boolean;
}

type QoS = 0 | 1 | 2;

export const PAYLOAD_BYTES = 64;
const LARGE_PAYLOAD_BYTES = 1_024;
const LEVELS: readonly QoS[] = [0, 1, 2];

export function fanIn(qos: QoS): Scenario {
  // 50 × 10 under way, and as many acknowledged but not yet read as such, fit the gateway's window of one subscriber:
  // nobody needs the log. QoS 0 has no such limit, and more under way lets both processes work at once.
  const window = qos === 0 ? 40 : 10;
  const common = { subscribers: 1, payloadBytes: PAYLOAD_BYTES, persistent: false };
  return { name: `fan-in 50 → 1, QoS ${qos}`, publishers: 50, qos, window, ...common };
}

function fanOut(qos: QoS, subscribers: number): Scenario {
  const common = { publishers: 1, payloadBytes: PAYLOAD_BYTES, persistent: false };
  return { name: `fan-out 1 → ${subscribers}, QoS ${qos}`, subscribers, qos, window: 20, ...common };
}

/** The subscriber's session outlives its connection: in Tributary everything is on disk before it is acknowledged. */
function withLog(qos: 1 | 2): Scenario {
  return { ...fanIn(qos), name: `fan-in 50 → 1, QoS ${qos}, persistent session`, persistent: true };
}

function large(scenario: Scenario): Scenario {
  return { ...scenario, name: `${scenario.name}, 1 KiB`, payloadBytes: LARGE_PAYLOAD_BYTES };
}

function publishOnly(qos: 1 | 2): Scenario {
  const name = `publish only, 50 publishers, QoS ${qos}, into the queue of an absent session`;
  return { ...fanIn(qos), name, persistent: true, absent: true };
}

export const SHORT_FLOWS: readonly Scenario[] = [
  ...LEVELS.map(fanIn),
  ...LEVELS.map((qos) => fanOut(qos, 200)),
  withLog(1),
  withLog(2),
];

const FULL_SMALL: readonly Scenario[] = [
  ...LEVELS.map(fanIn),
  ...LEVELS.map((qos) => fanOut(qos, 500)),
  withLog(1),
  withLog(2),
];

export const FULL_FLOWS: readonly Scenario[] = [
  ...FULL_SMALL,
  ...FULL_SMALL.map(large),
  publishOnly(1),
  publishOnly(2),
  large(publishOnly(1)),
];

/** 500 pairs of one publisher and one subscriber; messages are due at fixed times. */
export interface OpenScenario {
  readonly name: string;
  readonly pairs: number;
  readonly perSecond: number;
  readonly burst: number;
  readonly qos: QoS;
  readonly payloadBytes: number;
}

export const OPEN_LOOPS: readonly OpenScenario[] = LEVELS.flatMap((qos) =>
  [PAYLOAD_BYTES, LARGE_PAYLOAD_BYTES].map((payloadBytes) => ({
    name: `open loop, 500 pairs, QoS ${qos}, 5,000 msg/s${payloadBytes === PAYLOAD_BYTES ? "" : ", 1 KiB"}`,
    pairs: 500,
    perSecond: 5_000,
    burst: 10,
    qos,
    payloadBytes,
  }))
);
