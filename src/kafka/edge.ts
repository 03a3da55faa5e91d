/**
 * The side towards Kafka as the process sees it: starts and stops uplink and downlink, wakes them after commits, and says
 * how they are. It decides nothing that they decide.
 */
import { LIMITS } from "../limits.ts";
import { Downlink, type DownlinkFigures, type DownlinkState } from "./downlink.ts";
import type { EdgeParts } from "./edge_ports.ts";
import { literalUplinkTopics, Topics } from "./topics.ts";
import { Uplink } from "./uplink.ts";
import type { UplinkFigures, UplinkState } from "./uplink_figures.ts";

export type { EdgeParts, EdgeSettings } from "./edge_ports.ts";

export interface EdgeStatus {
  readonly uplink: UplinkState;
  readonly downlink: DownlinkState;
  /** What it waits for, in words: topic, right, setting, the command that helps. Empty when all is well. */
  readonly sentences: readonly string[];
  /** What concerns the uplink among them: while there is one, `ack=kafka` is not acknowledged. */
  readonly uplinkSentences: readonly string[];
  /** Found once and true for the life of the process: a disk rolled back, a clone, records lost in Kafka. */
  readonly alarms: readonly string[];
}

export interface EdgeFigures {
  readonly uplink: UplinkFigures;
  readonly downlink: DownlinkFigures;
}

export class Edge {
  readonly #parts: EdgeParts;
  readonly #topics: Topics;
  readonly #uplink: Uplink;
  readonly #downlink: Downlink;
  #running: Promise<unknown> = Promise.resolve();

  constructor(parts: EdgeParts) {
    this.#parts = parts;
    this.#topics = new Topics(parts);
    const prepare = (): Promise<void> => this.#topics.prepare();
    this.#uplink = new Uplink({ ...parts, prepare, literalTopics: literalUplinkTopics(parts.routes) });
    this.#downlink = new Downlink(parts);
  }

  /** Told about every committed uplink transaction, for the metrics. */
  set onTransaction(told: (sent: { readonly durationMs: number; readonly records: number }) => void) {
    this.#uplink.onTransaction = told;
  }

  /** Begins; never waits for Kafka. A bug of ours is thrown at the end of a turn, where it ends the process. */
  start(): void {
    const runs = [this.#uplink.run(), this.#downlink.run()];
    for (const run of runs) {
      run.catch((error: unknown) => {
        this.#parts.platform.afterTurn(() => {
          throw error;
        });
      });
    }
    this.#running = Promise.allSettled(runs);
  }

  /**
   * Lets what is under way end, for a bounded time, then closes the client. To be called before the log is closed: the
   * last positions are appended here.
   */
  async stop(): Promise<void> {
    this.#uplink.stop();
    this.#downlink.stop();
    await this.#ended();
    await this.#parts.client.close();
    await this.#ended(); // what the closed client has rejected
  }

  /** To be called after every commit of the log. */
  committed(): void {
    this.#uplink.committed();
    this.#downlink.committed();
  }

  status(): EdgeStatus {
    const uplink = this.#uplink.sentence === undefined ? [] : [this.#uplink.sentence];
    const topics = this.#topics.problems.map(({ text }) => text).filter((text) => !uplink.includes(text));
    return {
      uplink: this.#uplink.state,
      downlink: this.#downlink.state,
      sentences: [...new Set([...uplink, ...topics, ...this.#downlink.sentences])],
      uplinkSentences: uplink,
      alarms: this.#uplink.alarms,
    };
  }

  figures(): EdgeFigures {
    return { uplink: this.#uplink.figures(), downlink: this.#downlink.figures() };
  }

  /** Largest payload that a Kafka topic surely takes, as far as it is known. */
  payloadBytesMax(kafkaTopic: string): number | undefined {
    return this.#uplink.payloadBytesMax(kafkaTopic);
  }

  async #ended(): Promise<void> {
    let cancel = (): void => {};
    const patience = new Promise<void>((resolve) => {
      cancel = this.#parts.platform.clock.after(LIMITS.kafkaStopMs, resolve);
    });
    await Promise.race([this.#running, patience]);
    cancel();
  }
}
