/** A log over a memory disk and virtual time, without a gateway: what tests of the log share. Asserts nothing. */
import type { Engine } from "../../../src/gateway/engine.ts";
import type { MessageEntry } from "../../../src/log/entry.ts";
import type { LogOptions } from "../../../src/log/log.ts";
import { createMemoryStore, MemoryDisk } from "../../../src/log/memory_store.ts";
import type { OpenedLog } from "../../../src/log/recovery.ts";
import { openLog } from "../../../src/log/recovery.ts";
import { VirtualPlatform } from "../../simulation/virtual_clock.ts";

export type TestLogOptions = Partial<Pick<LogOptions, "bytesMax" | "groupMs" | "mayDropOldest">>;

export class TestLog {
  readonly disk: MemoryDisk;
  readonly platform: VirtualPlatform;
  readonly #options: TestLogOptions;
  #opened: OpenedLog | undefined;
  fatal: Error | undefined;

  constructor(options: TestLogOptions & { readonly disk?: MemoryDisk } = {}) {
    this.disk = options.disk ?? new MemoryDisk();
    this.platform = new VirtualPlatform({ seed: 5 });
    this.#options = options;
  }

  get opened(): OpenedLog {
    if (this.#opened === undefined) throw new Error("The test log is not open");
    return this.#opened;
  }

  get log(): Engine["log"] {
    return this.opened.log;
  }

  async open(): Promise<this> {
    const requestTurn = (): void => this.platform.afterTurn(() => this.#opened?.log.endTurn());
    this.#opened = await openLog({
      bytesMax: 1_073_741_824,
      groupMs: 0,
      mayDropOldest: false,
      ...this.#options,
      site: undefined,
      platform: this.platform,
      store: createMemoryStore(this.disk),
      onFatal: (error) => this.fatal = error,
      requestTurn,
      onCommitted: () => {},
    });
    this.log.requestTurn();
    await this.platform.quiesce();
    return this;
  }

  quiet(): Promise<void> {
    return this.platform.quiesce();
  }

  kill(unsynced: "lost" | "kept" = "lost"): void {
    this.disk.kill({ unsynced });
    this.platform.clock.dropTimers();
    this.platform.dropTurn();
    this.#opened = undefined;
  }

  async reopen(): Promise<this> {
    this.kill();
    return await this.open();
  }

  async close(): Promise<void> {
    let done = false;
    void this.log.close().then(() => done = true);
    while (!done) await this.platform.quiesce();
    this.#opened = undefined;
  }

  /** Lets housekeeping run. */
  async tick(times = 1): Promise<void> {
    for (let count = 0; count < times; count++) {
      this.platform.clock.advance(1_000);
      this.log.tick();
      await this.quiet();
    }
  }

  /** Bytes of all rows on disk. */
  get rowBytes(): number {
    return this.disk.readRows(0, Infinity).rows.reduce((sum, row) => sum + row.body.byteLength, 0);
  }

  /** A durable session with one subscription; returns its number. */
  session(clientId: string, topicFilter: string, qos: 0 | 1 | 2 = 1): number {
    const { log } = this;
    const session = log.state.nextSession;
    log.append({ type: "session-created", session, clientId, owner: "", durable: true, logged: true });
    const subscription = { topicFilter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
    log.append({ type: "subscribed", session, subscription, subscriptionId: undefined, replayRetained: false });
    return session;
  }

  publish(
    topicName: string,
    payload: Uint8Array,
    fields: { readonly retain?: boolean; readonly qos?: 0 | 1 | 2 } = {},
  ): number {
    return this.log.appendMessage(messageEntry(topicName, payload, fields), { logged: true }).position;
  }
}

export function messageEntry(
  topicName: string,
  payload: Uint8Array,
  fields: { readonly retain?: boolean; readonly qos?: 0 | 1 | 2 } = {},
): MessageEntry {
  const { retain = false, qos = 1 } = fields;
  const message = { topicName, payload, qos, retain, properties: undefined, clientId: "p", receivedMs: 1 };
  return { type: "message", message, route: undefined, fromKafka: false, skipped: [] };
}
