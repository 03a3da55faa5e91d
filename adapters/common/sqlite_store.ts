/**
 * The durable store: `node:sqlite` in a thread of its own, so that the event loop never waits for the disk. This side
 * only asks and takes the answers; the thread begins in `sqlite_thread.ts`.
 */

import { Worker } from "node:worker_threads";
import { assert, AssertionFailed, TributaryError } from "../../src/errors.ts";
import { LIMITS } from "../../src/limits.ts";
import type { Loss, RowsRead, Store, StoreCommit, StoreOpened, StoreSpace } from "../../src/ports.ts";
import type { SqliteOptions } from "./sqlite_database.ts";
import {
  type NumberedRequest,
  type NumberedResult,
  packCommit,
  type Request,
  type Result,
  spareOf,
  unpackOpened,
  unpackRows,
} from "./sqlite_wire.ts";

export interface SqliteStoreOptions {
  /** Created (0700) if it is missing; held by one process at a time. */
  readonly directory: string;
  /** Budget of the log in bytes. */
  readonly maxBytes: number;
  /** Size of the file that is given up when the disk is full; `LIMITS.ballastBytes` unless told otherwise. */
  readonly ballastBytes?: number;
}

/**
 * A store over SQLite in `directory`; `open()` does all the work. What `commit` is given is copied before it returns:
 * the caller may reuse its buffers at once. The bodies of one `readRows` share one buffer, which is the caller's.
 */
export function createSqliteStore(options: SqliteStoreOptions): Store {
  const { directory, maxBytes, ballastBytes = LIMITS.ballastBytes } = options;
  return new SqliteStore({ directory, maxBytes, ballastBytes });
}

/**
 * The thread's file. In the compiled binary this module's URL is that of the whole program, which lies above the files of
 * its other entries; for that the build must say `format: "esm"`, because Bun's default with bytecode is CommonJS, whose
 * `import.meta.url` is the path of the source on the building machine.
 */
const isSource = import.meta.url.endsWith("/sqlite_store.ts");
const THREAD = new URL(isSource ? "./sqlite_thread.ts" : "./common/sqlite_thread.js", import.meta.url);

interface Pending {
  readonly resolve: (result: Result) => void;
  readonly reject: (error: Error) => void;
}

class SqliteStore implements Store {
  readonly #options: SqliteOptions;
  readonly #pending = new Map<number, Pending>();
  #worker: Worker | undefined;
  #ended: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  /** Why nothing can be asked any more. */
  #unusable: TributaryError | undefined = new TributaryError("store.closed", "Cannot use the log: it is not open");
  #nextId = 1;
  #spare: ArrayBuffer | undefined;
  #isCommitting = false;

  constructor(options: SqliteOptions) {
    this.#options = options;
  }

  async open(): Promise<StoreOpened> {
    assert(this.#worker === undefined && this.#closing === undefined, "a store is opened once");
    this.#start();
    try {
      const result = await this.#ask({ kind: "open" });
      assert(result.kind === "opened", "open is answered by opened");
      return unpackOpened(result.opened);
    } catch (error) {
      this.#unusable ??= new TributaryError("store.closed", "Cannot use the log: it could not be opened");
      await this.#endThread();
      throw error;
    }
  }

  async commit(commit: StoreCommit): Promise<StoreSpace> {
    assert(!this.#isCommitting, "one commit is outstanding at a time");
    const packed = packCommit(commit, this.#spare);
    this.#spare = undefined;
    this.#isCommitting = true;
    try {
      const result = await this.#ask({ kind: "commit", commit: packed }, [packed.buffer]);
      assert(result.kind === "committed", "commit is answered by committed");
      this.#spare = spareOf(result.buffer);
      return result.space;
    } finally {
      this.#isCommitting = false;
    }
  }

  async readRows(from: number, options: { readonly maxBytes: number }): Promise<RowsRead> {
    const result = await this.#ask({ kind: "readRows", from, maxBytes: options.maxBytes });
    assert(result.kind === "rows", "readRows is answered by rows");
    return unpackRows(result.read);
  }

  async readLosses(options: { readonly countMax: number }): Promise<readonly Loss[]> {
    const result = await this.#ask({ kind: "readLosses", countMax: options.countMax });
    assert(result.kind === "losses", "readLosses is answered by losses");
    return result.losses;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const isServing = this.#unusable === undefined;
    const closed = isServing ? this.#ask({ kind: "close" }) : undefined;
    this.#unusable ??= new TributaryError("store.closed", "Cannot use the log: it is closed");
    try {
      await closed;
    } finally {
      await this.#endThread();
    }
  }

  /** From here, after the thread's last answer: on Deno a thread cannot close its own port. */
  async #endThread(): Promise<void> {
    await this.#worker?.terminate();
    await this.#ended;
  }

  #start(): void {
    const worker = new Worker(THREAD, { workerData: this.#options });
    this.#worker = worker;
    this.#unusable = undefined;
    worker.on("message", ({ id, result }: NumberedResult) => this.#settle(id, result));
    worker.on("error", (error) => this.#fail("its thread failed", error));
    worker.on("messageerror", (error) => this.#fail("an answer of its thread is unreadable", error));
    this.#ended = new Promise((resolve) => {
      // Whatever the code: Bun reports 0 after an unhandled rejection.
      worker.on("exit", (code) => {
        this.#fail(`its thread ended with code ${code}`, undefined);
        resolve();
      });
    });
  }

  /** Requests are answered in order; a request that cannot be answered is rejected. */
  #ask(request: Request, transfer: ArrayBuffer[] = []): Promise<Result> {
    const worker = this.#worker;
    if (this.#unusable !== undefined || worker === undefined) {
      return Promise.reject(this.#unusable ?? new AssertionFailed("a usable store has a thread"));
    }
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      const message: NumberedRequest = { id, request };
      worker.postMessage(message, transfer);
    });
  }

  #settle(id: number, result: Result): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (pending === undefined) return;
    if (result.kind === "failed") pending.reject(new TributaryError(result.code, result.text));
    else if (result.kind === "bug") pending.reject(new AssertionFailed(`Broken invariant: ${result.text}`));
    else pending.resolve(result);
  }

  /** The thread is gone: whether an unanswered commit is durable nobody knows, so the process has to stop. */
  #fail(why: string, cause: unknown): void {
    const text = `Cannot use the log in "${this.#options.directory}": ${why}; start again, the log itself is intact`;
    const error = new TributaryError("store.io", text, { cause });
    this.#unusable ??= error;
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
  }
}
