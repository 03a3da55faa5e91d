/**
 * The steps of a message's life as they are seen from outside (packets, files, system calls, requests to Kafka), and a
 * process that is killed with -9 at the very moment of one of them.
 */

import { statSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import type { TestScope } from "./gateway_process.ts";
import type { RestartableGateway } from "./load.ts";
import type { OnPassed } from "./load_connection.ts";
import { traceWrites } from "./system_calls.ts";
import { within } from "./wait.ts";

const DEADLINE_MS = 60_000;

export class KillSteps {
  readonly #gateway: RestartableGateway;
  #armed: { readonly step: string; left: number; readonly kill: () => void } | undefined;

  constructor(gateway: RestartableGateway) {
    this.#gateway = gateway;
  }

  /** For whoever sees a step: the process dies before this returns, if it is the one. */
  passed(step: string): void {
    const armed = this.#armed;
    if (armed === undefined || armed.step !== step || --armed.left > 0) return;
    this.#armed = undefined;
    armed.kill();
  }

  /** The packets of one kind of client, as steps: `publisher got puback`. */
  packetsOf(client: string): OnPassed {
    return (direction, cmd) => this.passed(`${client} ${direction} ${cmd}`);
  }

  /** Makes `load` happen and kills the gateway when the step has been seen so often. */
  async kill(scope: TestScope, at: { readonly step: string; readonly count: number }, load: () => void): Promise<void> {
    const dead = Promise.withResolvers<void>();
    const stopLooking = await this.#look(scope, at.step);
    scope.after(stopLooking);
    this.#armed = {
      step: at.step,
      left: at.count,
      kill: () => void this.#gateway.kill9().then(dead.resolve, dead.reject),
    };
    load();
    await within(dead.promise, DEADLINE_MS, `time ${at.count} of "${at.step}"`);
    await stopLooking();
  }

  async #look(scope: TestScope, step: string): Promise<() => Promise<void>> {
    const database = `${this.#gateway.dataDirectory}/log.sqlite`;
    switch (step) {
      case "appended":
        return looking(() => statSync(`${database}-wal`, { bigint: true }).mtimeNs, () => this.passed(step));
      case "synced": {
        const { pid } = this.#gateway.current.child;
        const trace = await traceWrites(scope, pid, { onSynced: () => this.passed(step) });
        return () => trace.detach();
      }
      case "freed": {
        const reader = new DatabaseSync(database, { readOnly: true });
        const first = reader.prepare("SELECT min(first) AS first FROM batch");
        let before = 0;
        const stop = looking(
          () => {
            const now = Number(first.get()?.["first"] ?? 0);
            const isFreed = before !== 0 && now !== before;
            before = now;
            return isFreed;
          },
          () => this.passed(step),
        );
        return async () => {
          await stop();
          if (reader.isOpen) reader.close();
        };
      }
      default:
        return () => Promise.resolve();
    }
  }
}

/** Looks as often as it can and tells every change, until told to stop. */
function looking(look: () => unknown, changed: () => void): () => Promise<void> {
  let isWanted = true;
  let before = look();
  const again = (): void => {
    if (!isWanted) return;
    const now = look();
    if (now !== before) changed();
    before = now;
    setImmediate(again);
  };
  again();
  return async () => {
    isWanted = false;
    await Promise.resolve();
  };
}
