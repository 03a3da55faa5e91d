/**
 * The error that carries a stable code. Three kinds, three answers: our bug throws AssertionFailed and ends the process; the
 * peer's fault is a ProtocolError that closes that one connection (src/mqtt); the world's fault is a TributaryError
 * that is retried or reported. Callers switch on `code`, never on the text.
 */

/** Codes of the world's faults; the part before the dot names the layer that throws it. */
export type ErrorCode =
  | "config.invalid"
  | "store.busy" // another process holds the data directory
  | "store.not-usable" // not creatable, readable or writable, or on a network file system
  | "store.io" // disk I/O or sync error: fatal
  | "store.full" // the disk is full and freeing the ballast did not help: fatal
  | "store.damaged" // beyond quarantine
  | "store.newer-format"
  | "store.older-format"
  | "store.other-site" // the data belongs to another site name
  | "store.closed"
  | "listen.in-use"
  | "listen.not-usable"
  | "kafka.unreachable"
  | "kafka.misconfigured" // topic, setting or right
  | "kafka.fenced"
  | "kafka.in-doubt" // the outcome of a transaction is unknown
  | "kafka.rejected"; // Kafka will never take this record

/** A fault of the world around the gateway: `Cannot <do> "<what>": <why, current state>; <what to do>`. */
export class TributaryError extends Error {
  override readonly name = "TributaryError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** A broken invariant of our own: the process ends, because going on would write what cannot be trusted. */
export class AssertionFailed extends Error {
  override readonly name = "AssertionFailed";
}

/** Throws AssertionFailed unless the condition holds. The text says which invariant is broken. */
export function assert(condition: boolean, invariant: string): asserts condition {
  if (!condition) throw new AssertionFailed(`Broken invariant: ${invariant}`);
}
