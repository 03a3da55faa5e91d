/**
 * The thread that owns the log's database: takes requests in order and answers each exactly once. Does nothing until
 * `serveLog` is called.
 */

import { parentPort } from "node:worker_threads";
import { TributaryError } from "../../src/errors.ts";
import type { StoreOpened } from "../../src/ports.ts";
import { SqliteDatabase, type SqliteOptions } from "./sqlite_database.ts";
import {
  type NumberedRequest,
  type NumberedResult,
  packOpened,
  packRows,
  type Request,
  type Result,
  unpackCommit,
} from "./sqlite_wire.ts";
import { isConstraint, storeError } from "./store_errors.ts";

const DOING: Readonly<Record<Request["kind"], string>> = {
  open: "open the log in",
  commit: "write the log in",
  readRows: "read the log in",
  readLosses: "read the losses in",
  close: "close the log in",
};

/** What the thread does, without the thread. */
export class LogThread {
  readonly #options: SqliteOptions;
  #database: SqliteDatabase | undefined;
  /** The first failed commit: SQLite would accept a later one, and the log would have a hole that nobody knows of. */
  #failed: Result | undefined;

  constructor(options: SqliteOptions) {
    this.#options = options;
  }

  answer(request: Request): Result {
    if (request.kind === "commit" && this.#failed !== undefined) return this.#failed;
    try {
      return this.#perform(request);
    } catch (error) {
      const failed = this.#failure(request, error);
      if (request.kind === "commit") this.#failed = failed;
      return failed;
    }
  }

  #perform(request: Request): Result {
    if (request.kind === "open") {
      return { kind: "opened", opened: packOpened(this.#open()) };
    }
    if (request.kind === "close") {
      this.#database?.close();
      this.#database = undefined;
      return { kind: "closed" };
    }
    const database = this.#database;
    if (database === undefined) throw new TributaryError("store.closed", "Cannot use the log: it is not open");
    switch (request.kind) {
      case "commit":
        return {
          kind: "committed",
          space: database.commit(unpackCommit(request.commit)),
          buffer: request.commit.buffer,
        };
      case "readRows":
        return { kind: "rows", read: packRows(database.readRows(request.from, request.maxBytes)) };
      case "readLosses":
        return { kind: "losses", losses: database.readLosses(request.countMax) };
    }
  }

  #open(): StoreOpened {
    const database = new SqliteDatabase(this.#options);
    try {
      const opened = database.read();
      this.#database = database;
      return opened;
    } catch (error) {
      database.close();
      throw error;
    }
  }

  #failure(request: Request, error: unknown): Result {
    if (error instanceof Error && (error instanceof TypeError || error instanceof RangeError || isConstraint(error))) {
      return { kind: "bug", text: `the store can do what it is asked: ${error.message}` };
    }
    const { code, message } = storeError(DOING[request.kind], this.#options.directory, error, "store.io");
    return { kind: "failed", code, text: message };
  }
}

/** Buffers that move to the other thread instead of being copied. */
function transfersOf(result: Result): ArrayBuffer[] {
  switch (result.kind) {
    case "opened":
      return [result.opened.rows.buffer, result.opened.retained.buffer];
    case "committed":
      return [result.buffer];
    case "rows":
      return [result.read.buffer];
    default:
      return [];
  }
}

/** Serves until the other side terminates the thread. */
export function serveLog(options: SqliteOptions): void {
  const port = parentPort;
  if (port === null) throw new Error("Cannot serve the log: this is not a worker thread");
  const thread = new LogThread(options);
  port.on("message", ({ id, request }: NumberedRequest) => {
    const result = thread.answer(request);
    const reply: NumberedResult = { id, result };
    port.postMessage(reply, transfersOf(result));
  });
}
