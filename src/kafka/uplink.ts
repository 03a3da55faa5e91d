/**
 * Log → Kafka, exactly once: transactions of consecutive messages and a marker, one after the other. After any error it
 * begins anew from the marker in Kafka and never guesses what became of a transaction. Nothing that Kafka says stops it,
 * but another gateway of the same site that has taken over.
 */
import { TributaryError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import { BatchMaker, type MadeBatch } from "./batch_maker.ts";
import { durable, type EdgeParts } from "./edge_ports.ts";
import { DEAD_LETTER_KAFKA_TOPIC } from "./kafka_names.ts";
import { KafkaTime } from "./kafka_time.ts";
import { type Finding, type Marker, markerRecord } from "./marker.ts";
import { type MarkerSource, newestMarkerInTime } from "./marker_reader.ts";
import { OldestWaiting } from "./oldest_waiting.ts";
import { Refusals } from "./refusals.ts";
import { SlowMessage } from "./slow_message.ts";
import { TopicBook } from "./topic_book.ts";
import { TransactionPace } from "./transaction_pace.ts";
import { TransactionSize } from "./transaction_size.ts";
import type { UplinkBatch } from "./uplink_batch.ts";
import { type StartedUplink, startUplink, transactionalId } from "./uplink_start.ts";
import type { UplinkFigures, UplinkState } from "./uplink_figures.ts";
import { alarmText, supersededText } from "./uplink_texts.ts";
import { Backoff, Wakeup } from "./waiting.ts";

export interface UplinkParts extends EdgeParts {
  /** Sees to the topics that the gateway needs; rejects when the marker topic is not there. */
  readonly prepare: () => Promise<void>;
  /** Kafka topics of uplink rules without captures. */
  readonly literalTopics: readonly string[];
}

export class Uplink {
  readonly #parts: UplinkParts;
  readonly #wakeup: Wakeup;
  readonly #backoff: Backoff;
  readonly #book: TopicBook;
  readonly #refusals = new Refusals();
  readonly #maker: BatchMaker;
  readonly #size: TransactionSize;
  readonly #pace: TransactionPace;
  readonly #time: KafkaTime;
  readonly #slow: SlowMessage;
  readonly #source: MarkerSource;
  readonly #literalTopics: ReadonlySet<string>;
  #state: UplinkState = "starting";
  #sentence: string | undefined = "Connecting to Kafka";
  readonly #alarms: string[] = [];
  #position = 0;
  /** This start of the process has written its epoch to Kafka: another log's epoch there is then a successor's. */
  #claimed = false;
  /** A newer producer may have come: who, is to be read before the next one is opened. */
  #fenced = false;
  /** Messages in the ledger only, whose position Kafka has not passed yet. */
  readonly #inLedger = new Set<number>();
  /** Messages given up for lack of space up to here are in the ledger, on disk. */
  #droppedThrough = 0;
  readonly #oldest: OldestWaiting;
  /** The last transaction with messages failed. */
  #isStuck = false;
  /** The last transaction took everything there was: the next may wait for company. */
  #drained = true;
  #counts = { records: 0, deadLetters: 0, ledgerOnly: 0, transactionsCommitted: 0, transactionsFailed: 0 };
  /** Told about every committed transaction with messages, for the metrics. */
  onTransaction: (sent: { readonly durationMs: number; readonly records: number }) => void = () => {};

  constructor(parts: UplinkParts) {
    this.#parts = parts;
    this.#wakeup = new Wakeup(parts.platform);
    this.#backoff = new Backoff(parts.platform);
    this.#oldest = new OldestWaiting(parts.log);
    this.#book = new TopicBook(parts.client, parts.platform.clock);
    this.#maker = new BatchMaker({ ...parts, book: this.#book, refusals: this.#refusals });
    const { transactionTimeoutMs: timeoutMs, uplinkLingerMs } = parts.settings;
    this.#size = new TransactionSize({ timeoutMs });
    this.#pace = new TransactionPace({ leastMs: uplinkLingerMs });
    this.#time = new KafkaTime(parts.platform.clock, parts.tell);
    this.#slow = new SlowMessage({ timeoutMs });
    this.#literalTopics = new Set([...parts.literalTopics, DEAD_LETTER_KAFKA_TOPIC]);
    const { client, site } = parts;
    this.#source = { client, site, wakeup: this.#wakeup, onWait: (sentence) => this.#wait(sentence) };
  }

  get state(): UplinkState {
    return this.#state;
  }

  /** What it waits for; undefined when nothing is wrong. */
  get sentence(): string | undefined {
    return this.#sentence;
  }

  /** What a person should know of this log and Kafka, for as long as the process lives. */
  get alarms(): readonly string[] {
    return this.#alarms;
  }

  payloadBytesMax(kafkaTopic: string): number | undefined {
    return this.#book.payloadBytesMax(kafkaTopic);
  }

  figures(): UplinkFigures {
    const { log } = this.#parts;
    return {
      connected: this.#state === "running",
      position: log.state.uplinkThrough,
      lagSeconds: this.#oldest.seconds,
      ...this.#counts,
      transactionBytes: this.#size.bytes,
    };
  }

  /** Something is committed to the log. */
  committed(): void {
    this.#wakeup.wake();
  }

  stop(): void {
    this.#wakeup.stop();
  }

  /** Runs until it is stopped or superseded. Rejects only for our own bugs. */
  async run(): Promise<void> {
    await durable(this.#parts.log); // the epoch must be on disk before Kafka hears of it
    while (!this.#wakeup.stopped && !this.#isSuperseded()) {
      try {
        await this.#session();
      } catch (error) {
        if (!(error instanceof TributaryError)) throw error;
        await this.#failed(error);
      }
    }
    if (this.#isSuperseded()) await this.#lag();
    else this.#state = "stopped";
  }

  /** Sends nothing more, but what waits must show as lag. */
  async #lag(): Promise<void> {
    while (!this.#wakeup.stopped) {
      await this.#oldest.look(this.#parts.log.state.uplinkThrough);
      await this.#wakeup.idle();
    }
  }

  /** One producer's life. Ends by a stop, a successor or an error. */
  async #session(): Promise<void> {
    await this.#oldest.look(Math.max(this.#position, this.#parts.log.state.uplinkThrough));
    await this.#parts.prepare();
    if (this.#fenced) {
      const marker = await newestMarkerInTime(this.#source, this.#parts.platform.clock);
      if (this.#isForeign(marker)) return this.#superseded();
      this.#fenced = false; // it was a time-out of our own
    }
    const { client, log, site, settings, tell } = this.#parts;
    const started = await startUplink({
      client,
      log,
      site,
      timeoutMs: settings.transactionTimeoutMs,
      source: this.#source,
      book: this.#book,
      literalTopics: this.#literalTopics,
      tell,
    });
    try {
      if (this.#claimed && this.#isForeign(started.marker)) return this.#superseded();
      await this.#claim(started);
      let batch: MadeBatch | undefined;
      while (!this.#wakeup.stopped) {
        batch ??= await this.#nextBatch();
        if (batch === undefined) continue;
        // While Kafka takes one the next is made: a backlog keeps both at work.
        const [sent, next] = await Promise.allSettled([this.#send(started, batch), this.#batchBehind(batch)]);
        if (sent.status === "rejected") throw sent.reason;
        if (next.status === "rejected") throw next.reason;
        batch = next.value;
      }
    } finally {
      await started.producer.close();
    }
  }

  /** The first transaction: only the marker, under our epoch. */
  async #claim({ producer, resume }: StartedUplink): Promise<void> {
    if (!this.#claimed) this.#alarm(resume.finding, resume.after);
    this.#position = resume.after;
    const { clock } = this.#parts.platform;
    const startedMs = clock.nowMs();
    try {
      await producer.transact([this.#marker(resume.after)], { maxRequestBytes: LIMITS.produceRequestBytes });
    } catch (error) {
      if (error instanceof TributaryError && error.code === "kafka.rejected") this.#time.assumeAhead();
      throw error;
    }
    this.#size.empty(clock.nowMs() - startedMs);
    this.#claimed = true;
    this.#reached(resume.after, []);
    // While messages fail, a marker that gets through is no reason to say that all is well.
    if (!this.#isStuck) this.#runs();
  }

  #runs(): void {
    if (this.#state !== "running") {
      const position = this.#position;
      this.#parts.tell("info", "uplink.running", `Kafka has everything up to position ${position}`, { position });
    }
    this.#state = "running";
    this.#sentence = undefined;
  }

  /** The next messages; waits for some. Undefined: look again. */
  async #nextBatch(): Promise<MadeBatch | undefined> {
    const { log, platform } = this.#parts;
    if (!log.reader.hasRouted(this.#position + 1)) {
      this.#oldest.set(undefined);
      this.#drained = true;
      this.#isStuck = false;
      this.#runs();
      await this.#wakeup.idle();
      return undefined;
    }
    if (this.#drained) await this.#wakeup.pause(this.#pace.waitMs(platform.clock.nowMs()));
    const batch = await this.#make(this.#position);
    // Rows that cannot be read are passed like what has no route; only a marker behind them lets them go.
    const isUnreadable = batch.through > this.#position && log.reader.hasRouted(log.state.uplinkThrough + 1);
    if (batch.taken.length > 0 || batch.blocked !== undefined || isUnreadable) return batch;
    const moved = batch.through > this.#position;
    this.#position = Math.max(this.#position, batch.through);
    if (!moved) await this.#wakeup.idle(LIMITS.kafkaRetryMinMs); // on its way to the disk, or being rewritten there
    return undefined;
  }

  /** What comes behind a batch that is not all, unless that depends on what becomes of it. */
  async #batchBehind(batch: MadeBatch): Promise<MadeBatch | undefined> {
    if (batch.isAll || batch.blocked !== undefined || this.#refusals.isSearching) return undefined;
    const next = await this.#make(batch.through);
    return next.taken.length > 0 ? next : undefined;
  }

  async #make(after: number): Promise<MadeBatch> {
    return await this.#maker.make({
      after,
      maxBytes: this.#size.bytes,
      timestampMaxMs: () => this.#time.latestMs(),
    });
  }

  async #send(started: StartedUplink, batch: MadeBatch): Promise<void> {
    const { log, platform } = this.#parts;
    const { blocked, through } = batch;
    this.#drained = batch.isAll;
    this.#oldest.set((batch.taken[0] ?? blocked?.message)?.entry.message.receivedMs);
    if (blocked !== undefined && batch.taken.length === 0) {
      this.#book.forgetOne(blocked.kafkaTopic);
      return await this.#waitFor(blocked.reason);
    }
    await started.guard(batch.infos);
    await this.#lose(batch);
    const records = [...batch.records, this.#marker(through)];
    const startedMs = platform.clock.nowMs();
    this.#pace.began(startedMs);
    try {
      await started.producer.transact(records, { maxRequestBytes: LIMITS.produceRequestBytes });
    } catch (error) {
      this.#counts.transactionsFailed++;
      const durationMs = platform.clock.nowMs() - startedMs;
      this.#size.failed({ bytes: batch.bytes, durationMs });
      this.#isStuck = true;
      if (!(error instanceof TributaryError)) throw error;
      this.#judge(batch, error);
      const slow = this.#slow.failed(batch, { error, durationMs });
      throw slow === undefined ? error : new TributaryError(error.code, slow, { cause: error });
    }
    const endedMs = platform.clock.nowMs();
    const durationMs = endedMs - startedMs;
    this.#pace.committed(endedMs);
    this.#size.committed({ bytes: batch.bytes, durationMs });
    this.#refusals.taken(batch.taken.length, through);
    this.#backoff.reset();
    this.#position = through;
    this.#count(batch, durationMs);
    const refused = [...this.#inLedger].filter((position) => position <= through);
    for (const position of refused) this.#inLedger.delete(position);
    this.#reached(through, refused);
    log.sendingThrough = Math.max(log.sendingThrough, through);
    this.#isStuck = false;
    this.#runs();
  }

  /** What goes nowhere, or was given up, is in the ledger, on disk, before the marker passes it. */
  async #lose({ unsendable }: UplinkBatch): Promise<void> {
    const { log, platform, tell } = this.#parts;
    const { droppedThrough } = log.state;
    const fresh = unsendable.filter(({ message }) => !this.#inLedger.has(message.position));
    if (fresh.length === 0 && droppedThrough === this.#droppedThrough) return;
    for (const { message, reason } of fresh) {
      const { clientId, topicName } = message.entry.message;
      const atMs = platform.clock.wallMs();
      log.lose({ atMs, clientId, topicName, count: 1, reason: "kafka-refused", detail: reason });
      tell("warn", "uplink.refused", `A message is lost: ${reason}`, { topicName, clientId });
      this.#inLedger.add(message.position);
      this.#refusals.remember(message.position, { outcome: "ledger", reason });
      this.#counts.ledgerOnly++;
    }
    await durable(log);
    this.#droppedThrough = droppedThrough;
  }

  /** Kafka refused a transaction for what is in it: narrow it down, decide when a single message is left. */
  #judge(batch: UplinkBatch, error: TributaryError): void {
    if (error.code !== "kafka.rejected" && error.code !== "kafka.misconfigured") return;
    if (batch.records.length === 0) return; // only the marker: no message is to blame
    if (!this.#refusals.refused(batch.taken.length)) return;
    const [message] = batch.taken;
    if (message === undefined) return;
    const { position, route } = message;
    const reason = error.message;
    if (batch.deadLetters > 0) return this.#refusals.decide(position, { outcome: "ledger", reason });
    if (error.code === "kafka.rejected") return this.#refusals.decide(position, { outcome: "dead-letter", reason });
    if (route.fromCapture || route.deadLetterWhenRefused) {
      this.#book.refuse(route.kafkaTopic, reason);
      this.#refusals.decide(position, { outcome: "dead-letter", reason });
    }
  }

  #count(batch: UplinkBatch, durationMs: number): void {
    const { deadLetters } = batch;
    const records = batch.records.length;
    this.#counts.transactionsCommitted++;
    this.#counts.records += records;
    this.#counts.deadLetters += deadLetters;
    this.onTransaction({ durationMs, records });
    if (deadLetters === 0) return;
    this.#parts.tell("warn", "uplink.dead-letter", `${deadLetters} messages went to "${DEAD_LETTER_KAFKA_TOPIC}"`, {
      count: deadLetters,
    });
  }

  #reached(through: number, refused: readonly number[]): void {
    const { log, uplinkReached } = this.#parts;
    if (through > log.state.uplinkThrough) log.append({ type: "uplink", through });
    uplinkReached(through, refused);
  }

  #marker(position: number): ReturnType<typeof markerRecord> {
    const { site, epoch, log } = this.#parts;
    const marker: Marker = { epoch, position, epochs: log.state.epochs };
    return markerRecord(site, marker, this.#time.latestMs());
  }

  async #failed(error: TributaryError): Promise<void> {
    if (this.#wakeup.stopped) return;
    this.#fenced ||= error.code === "kafka.fenced";
    this.#book.forget();
    this.#wait(error.message);
    // A search for a refused record goes on at once: its answers come from a Kafka that works.
    if (this.#refusals.isSearching && error.code === "kafka.rejected") return await this.#wakeup.pause(1);
    await this.#wakeup.pause(this.#backoff.next());
  }

  async #waitFor(sentence: string): Promise<void> {
    this.#wait(sentence);
    await this.#wakeup.pause(this.#backoff.next());
    // The topic may have to be made, or named to the operator with what to do.
    await this.#parts.prepare();
  }

  #wait(sentence: string): void {
    if (this.#sentence !== sentence) this.#parts.tell("warn", "uplink.waiting", `The uplink waits: ${sentence}`);
    this.#state = "waiting";
    this.#sentence = sentence;
  }

  #isSuperseded(): boolean {
    return this.#state === "superseded";
  }

  #isForeign(marker: Marker | undefined): boolean {
    if (marker === undefined) return false;
    return !this.#parts.log.state.epochs.some(({ epoch }) => epoch === marker.epoch);
  }

  #superseded(): void {
    const { site } = this.#parts;
    this.#state = "superseded";
    this.#sentence = supersededText(site, transactionalId(site));
    this.#parts.tell("error", "uplink.superseded", this.#sentence);
  }

  #alarm(finding: Finding, after: number): void {
    const text = alarmText(finding, after);
    if (text === undefined || this.#alarms.includes(text)) return;
    this.#alarms.push(text);
    this.#parts.tell("error", `uplink.${finding}`, text, { position: after });
  }
}
