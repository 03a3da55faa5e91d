/**
 * Topic names seen before, found by their bytes, so that a known name costs no TextDecoder, no check and no new string; the
 * same string object again also makes every Map look-up by name cheap. Bounded; shared by all connections of a process.
 */
import { LIMITS } from "../limits.ts";
import { malformed } from "./packet_reader.ts";
import { isDeeperThan, topicNameError } from "./topics.ts";
import { decodeMqttString, utf8Equals } from "./utf8.ts";

const FNV_OFFSET = 0x811c_9dc5;
const FNV_PRIME = 0x0100_0193;

/**
 * Every name has two neighbouring slots it may lie in; a new one moves the older of them out. Nothing is ever chained,
 * so names chosen to collide only miss. The name itself is compared, its bytes are not kept.
 */
export class TopicTable {
  readonly #mask: number;
  readonly #levelsMax: number;
  readonly #hashes: Int32Array;
  readonly #names: (string | undefined)[];

  /** `namesMax` is rounded down to a power of two; a name has at most `levelsMax` levels. */
  constructor(options: { readonly namesMax?: number; readonly levelsMax: number }) {
    const slots = 2 ** Math.max(1, Math.floor(Math.log2(options.namesMax ?? LIMITS.topicTableMax)));
    this.#levelsMax = options.levelsMax;
    this.#mask = slots - 1;
    this.#hashes = new Int32Array(slots);
    this.#names = new Array<string | undefined>(slots).fill(undefined);
  }

  /**
   * The valid topic name in `bytes[start, end)`, which must not be empty. Throws ProtocolError 0x81 if it is none:
   * 0x90 is for names that are correctly formed but not accepted.
   */
  intern(bytes: Uint8Array, start: number, end: number): string {
    if (end - start > LIMITS.topicTableNameBytes) return this.#validName(bytes, start, end);
    let hash = FNV_OFFSET;
    for (let at = start; at < end; at++) hash = Math.imul(hash ^ (bytes[at] ?? 0), FNV_PRIME);
    const slot = (hash ^ (hash >>> 16)) & this.#mask;
    const known = this.#names[slot];
    if (known !== undefined && this.#hashes[slot] === hash && utf8Equals(known, bytes, start, end)) return known;
    const neighbour = slot ^ 1;
    const other = this.#names[neighbour];
    if (other !== undefined && this.#hashes[neighbour] === hash && utf8Equals(other, bytes, start, end)) return other;
    const name = this.#validName(bytes, start, end);
    if (known !== undefined) {
      this.#names[neighbour] = known;
      this.#hashes[neighbour] = this.#hashes[slot] ?? 0;
    }
    this.#names[slot] = name;
    this.#hashes[slot] = hash;
    return name;
  }

  #validName(bytes: Uint8Array, start: number, end: number): string {
    const name = decodeMqttString(bytes, start, end);
    if (name === undefined) throw malformed("The topic name is not well-formed UTF-8 or holds control characters");
    const error = topicNameError(name);
    if (error !== undefined) throw malformed(error);
    if (isDeeperThan(name, this.#levelsMax)) throw malformed(`The topic name has more than ${this.#levelsMax} levels`);
    return name;
  }
}
