/** Exit codes (those of sysexits.h) and which error ends the process with which. */

import { type ErrorCode, TributaryError } from "../errors.ts";

export const EXIT = {
  ok: 0,
  usage: 64,
  data: 65,
  unavailable: 69,
  bug: 70,
  cannotCreate: 73,
  io: 74,
  inUse: 75,
  kafka: 76,
  config: 78,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

const OF_ERROR: Readonly<Record<ErrorCode, ExitCode>> = {
  "config.invalid": EXIT.config,
  "store.busy": EXIT.inUse,
  "store.not-usable": EXIT.cannotCreate,
  "store.io": EXIT.io,
  "store.full": EXIT.io,
  "store.damaged": EXIT.data,
  "store.newer-format": EXIT.data,
  "store.older-format": EXIT.data,
  "store.other-site": EXIT.config,
  "store.closed": EXIT.bug, // whoever closes the store asks nothing of it afterwards
  "listen.in-use": EXIT.unavailable,
  "listen.not-usable": EXIT.config, // an address that is not ours, or a port without the right to it
  "kafka.unreachable": EXIT.unavailable,
  "kafka.misconfigured": EXIT.kafka,
  "kafka.fenced": EXIT.kafka,
  "kafka.in-doubt": EXIT.unavailable,
  "kafka.rejected": EXIT.kafka,
};

/** The exit code of what ended the process; anything that is not the world's fault is our bug. */
export function exitCodeOf(error: unknown): ExitCode {
  return error instanceof TributaryError ? OF_ERROR[error.code] : EXIT.bug;
}
