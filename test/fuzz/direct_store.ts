/**
 * The store over SQLite without its thread: every request is answered before the call returns, packed and unpacked as if it had
 * crossed over. For tests that open many logs.
 */
import assert from "node:assert/strict";
import type { SqliteOptions } from "../../adapters/common/sqlite_database.ts";
import { packCommit, type Request, type Result, unpackOpened, unpackRows } from "../../adapters/common/sqlite_wire.ts";
import { LogThread } from "../../adapters/common/sqlite_worker.ts";
import { AssertionFailed, TributaryError } from "../../src/errors.ts";
import type { Loss, RowsRead, Store, StoreCommit, StoreOpened, StoreSpace } from "../../src/ports.ts";

export class DirectStore implements Store {
  readonly #thread: LogThread;
  #isOpen = false;

  constructor(options: SqliteOptions) {
    this.#thread = new LogThread(options);
  }

  async open(): Promise<StoreOpened> {
    const { opened } = await this.#ask({ kind: "open" }, "opened");
    this.#isOpen = true;
    return unpackOpened(opened);
  }

  async commit(commit: StoreCommit): Promise<StoreSpace> {
    return (await this.#ask({ kind: "commit", commit: packCommit(commit, undefined) }, "committed")).space;
  }

  async readRows(from: number, options: { readonly maxBytes: number }): Promise<RowsRead> {
    return unpackRows((await this.#ask({ kind: "readRows", from, maxBytes: options.maxBytes }, "rows")).read);
  }

  async readLosses(options: { readonly countMax: number }): Promise<readonly Loss[]> {
    return (await this.#ask({ kind: "readLosses", countMax: options.countMax }, "losses")).losses;
  }

  /** May be called again, and when it could not be opened. */
  async close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    await this.#ask({ kind: "close" }, "closed");
  }

  #ask<Kind extends Result["kind"]>(request: Request, kind: Kind): Promise<Extract<Result, { kind: Kind }>> {
    const result = this.#thread.answer(request);
    if (result.kind === "failed") return Promise.reject(new TributaryError(result.code, result.text));
    if (result.kind === "bug") return Promise.reject(new AssertionFailed(`Broken invariant: ${result.text}`));
    assert.equal(result.kind, kind);
    return Promise.resolve(result as Extract<Result, { kind: Kind }>); // its kind has just been looked at
  }
}
