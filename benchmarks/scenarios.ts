/** What is measured: the scenarios of the short bench, as data. */

/** A flow of messages; every publisher's messages go to every subscriber. */
export interface Scenario {
  readonly name: string;
  readonly publishers: number;
  readonly subscribers: number;
  readonly qos: 0 | 1 | 2;
  /** Messages under way at once, per publisher. */
  readonly window: number;
  readonly persistent: boolean;
}

export const PAYLOAD_BYTES = 64;

function fanIn(qos: 0 | 1 | 2): Scenario {
  // 50 × 10 under way, and as many acknowledged but not yet read as such, fit the gateway's window of one subscriber:
  // nobody needs the log. QoS 0 has no such limit, and more under way lets both processes work at once.
  const window = qos === 0 ? 40 : 10;
  return { name: `fan-in 50 → 1, QoS ${qos}`, publishers: 50, subscribers: 1, qos, window, persistent: false };
}

function fanOut(qos: 0 | 1 | 2): Scenario {
  return { name: `fan-out 1 → 200, QoS ${qos}`, publishers: 1, subscribers: 200, qos, window: 20, persistent: false };
}

/** The subscriber's session outlives its connection: in Tributary everything is on disk before it is acknowledged. */
function withLog(qos: 1 | 2): Scenario {
  return { ...fanIn(qos), name: `fan-in 50 → 1, QoS ${qos}, persistent session`, persistent: true };
}

export const SCENARIOS: readonly Scenario[] = [
  fanIn(0),
  fanIn(1),
  fanIn(2),
  fanOut(0),
  fanOut(1),
  fanOut(2),
  withLog(1),
  withLog(2),
];
