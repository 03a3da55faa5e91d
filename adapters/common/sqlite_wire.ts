/**
 * What the store and its thread say to each other, and how bytes cross: copied once into one buffer that is handed
 * over and back. Knows neither threads nor SQLite.
 */

import type { ErrorCode } from "../../src/errors.ts";
import type { Loss, RowInfo, RowsRead, StoreCommit, StoreDamage, StoreOpened, StoreSpace } from "../../src/ports.ts";

/** A value's place in the buffer; `undefined` removes. */
interface Slice {
  readonly offset: number;
  readonly bytes: number;
}

interface PackedRow extends RowInfo {
  readonly offset: number;
}

export interface PackedCommit {
  readonly buffer: ArrayBuffer;
  readonly removedRows: readonly number[];
  readonly rows: readonly PackedRow[];
  readonly sessions: readonly { readonly key: number; readonly value: Slice | undefined }[];
  readonly retained: StoreCommit["retained"];
  readonly meta: readonly { readonly key: string; readonly value: Slice | undefined }[];
  readonly losses: readonly Loss[];
}

export interface PackedRows {
  readonly buffer: ArrayBuffer;
  readonly rows: readonly PackedRow[];
  readonly damaged: readonly StoreDamage[];
}

/** Rows and retained messages as columns: a million of them would cost a second to clone as objects. */
export interface PackedOpened extends Omit<StoreOpened, "rows" | "retained"> {
  readonly rows: Float64Array<ArrayBuffer>;
  readonly topicNames: readonly string[];
  /** Position and bytes of each retained message. */
  readonly retained: Float64Array<ArrayBuffer>;
}

export type Request =
  | { readonly kind: "open" }
  | { readonly kind: "commit"; readonly commit: PackedCommit }
  | { readonly kind: "readRows"; readonly from: number; readonly maxBytes: number }
  | { readonly kind: "readLosses"; readonly countMax: number }
  | { readonly kind: "close" };

export type Result =
  | { readonly kind: "opened"; readonly opened: PackedOpened }
  | { readonly kind: "committed"; readonly space: StoreSpace; readonly buffer: ArrayBuffer }
  | { readonly kind: "rows"; readonly read: PackedRows }
  | { readonly kind: "losses"; readonly losses: readonly Loss[] }
  | { readonly kind: "closed" }
  /** Errors are spelled out: Bun and Deno lose everything but the message of one that crosses threads. */
  | { readonly kind: "failed"; readonly code: ErrorCode; readonly text: string }
  | { readonly kind: "bug"; readonly text: string };

export interface NumberedRequest {
  readonly id: number;
  readonly request: Request;
}

export interface NumberedResult {
  readonly id: number;
  readonly result: Result;
}

/** Buffers up to this size are reused; larger ones cost Bun 2–3 times the CPU and are let go. */
const REUSED_BYTES_MAX = 262_144;

/** Copies a commit into `spare` if it fits, else into a new buffer. The caller's buffers are free when it returns. */
export function packCommit(commit: StoreCommit, spare: ArrayBuffer | undefined): PackedCommit {
  let total = 0;
  for (const { body } of commit.rows) total += body.length;
  for (const { value } of commit.sessions) total += value?.length ?? 0;
  for (const { value } of commit.meta) total += value?.length ?? 0;
  const buffer = spare !== undefined && spare.byteLength >= total ? spare : newBuffer(total);
  const bytes = new Uint8Array(buffer);
  let end = 0;
  const put = (value: Uint8Array): number => {
    bytes.set(value, end);
    end += value.length;
    return end - value.length;
  };
  const slice = (value: Uint8Array | undefined): Slice | undefined =>
    value === undefined ? undefined : { offset: put(value), bytes: value.length };
  return {
    buffer,
    removedRows: commit.removedRows,
    rows: commit.rows.map(({ first, span, routedThrough, body }) => ({
      first,
      span,
      routedThrough,
      bytes: body.length,
      offset: put(body),
    })),
    sessions: commit.sessions.map(({ key, value }) => ({ key, value: slice(value) })),
    retained: commit.retained,
    meta: commit.meta.map(({ key, value }) => ({ key, value: slice(value) })),
    losses: commit.losses,
  };
}

/** Half as much again as needed, so that commits of like size share it; the size is rounded to whole pages. */
function newBuffer(bytes: number): ArrayBuffer {
  const roomy = bytes + (bytes >> 1);
  return new ArrayBuffer(roomy > REUSED_BYTES_MAX ? bytes : (roomy + 4_095) & ~4_095);
}

/** The buffer to reuse, or undefined. */
export function spareOf(buffer: ArrayBuffer): ArrayBuffer | undefined {
  return buffer.byteLength <= REUSED_BYTES_MAX ? buffer : undefined;
}

export function unpackCommit(packed: PackedCommit): StoreCommit {
  const view = (slice: Slice | undefined): Uint8Array | undefined =>
    slice === undefined ? undefined : new Uint8Array(packed.buffer, slice.offset, slice.bytes);
  return {
    removedRows: packed.removedRows,
    rows: unpackRowList(packed.buffer, packed.rows),
    sessions: packed.sessions.map(({ key, value }) => ({ key, value: view(value) })),
    retained: packed.retained,
    meta: packed.meta.map(({ key, value }) => ({ key, value: view(value) })),
    losses: packed.losses,
  };
}

function unpackRowList(buffer: ArrayBuffer, rows: readonly PackedRow[]): StoreCommit["rows"] {
  return rows.map(({ first, span, routedThrough, offset, bytes }) => ({
    first,
    span,
    routedThrough,
    body: new Uint8Array(buffer, offset, bytes),
  }));
}

export function packRows(read: RowsRead): PackedRows {
  const total = read.rows.reduce((sum, { body }) => sum + body.length, 0);
  const bytes = new Uint8Array(total);
  let end = 0;
  const rows = read.rows.map(({ first, span, routedThrough, body }) => {
    const offset = end;
    bytes.set(body, offset);
    end += body.length;
    return { first, span, routedThrough, bytes: body.length, offset };
  });
  return { buffer: bytes.buffer, rows, damaged: read.damaged };
}

export function unpackRows(packed: PackedRows): RowsRead {
  return { rows: unpackRowList(packed.buffer, packed.rows), damaged: packed.damaged };
}

export function packOpened(opened: StoreOpened): PackedOpened {
  const rows = new Float64Array(opened.rows.length * 4);
  for (const [index, { first, span, routedThrough, bytes }] of opened.rows.entries()) {
    rows.set([first, span, routedThrough, bytes], index * 4);
  }
  const retained = new Float64Array(opened.retained.length * 2);
  for (const [index, { position, bytes }] of opened.retained.entries()) {
    retained[index * 2] = position;
    retained[index * 2 + 1] = bytes;
  }
  return { ...opened, rows, topicNames: opened.retained.map(({ topicName }) => topicName), retained };
}

export function unpackOpened(packed: PackedOpened): StoreOpened {
  const rows: RowInfo[] = [];
  for (let at = 0; at < packed.rows.length; at += 4) {
    const [first = 0, span = 0, routedThrough = 0, bytes = 0] = packed.rows.subarray(at, at + 4);
    rows.push({ first, span, routedThrough, bytes });
  }
  const { topicNames, retained: figures, ...rest } = packed;
  const retained = topicNames.map((topicName, index) => ({
    topicName,
    position: figures[index * 2] ?? 0,
    bytes: figures[index * 2 + 1] ?? 0,
  }));
  return { ...rest, rows, retained };
}
