/**
 * Answers that wait for the disk: until then a packet weighs on its connection, so that no client can fill the memory
 * before a slow disk. Knows neither packets nor what the answer is.
 */
import type { Log } from "../log/log.ts";
import type { Connection } from "./connection.ts";

/** What an answer that waits costs, without what the packet itself brought. */
export const ANSWER_BYTES = 64;

/** Runs when everything appended so far is durable. `bytes`: what is in memory for it until then. */
export function whenDurable(
  log: Log,
  waiting: { readonly connection: Connection; readonly bytes: number },
  run: () => void,
): void {
  const { connection, bytes } = waiting;
  connection.weigh(bytes);
  log.after({
    run: () => {
      connection.weigh(-bytes);
      run();
      connection.checkReading();
    },
  });
}
