/**
 * The partition of a key, as the Java producer computes it, so that every producer of a Kafka topic agrees. Pure.
 */

const M = 0x5bd1e995;

/** MurmurHash2, 32 bit, seed 0x9747b28c, signed: `org.apache.kafka.common.utils.Utils.murmur2`. */
export function murmur2(bytes: Uint8Array): number {
  const length = bytes.length;
  const blocksEnd = length & ~3;
  let hash = 0x9747b28c ^ length;
  for (let at = 0; at < blocksEnd; at += 4) {
    let block = byteAt(bytes, at) | (byteAt(bytes, at + 1) << 8) | (byteAt(bytes, at + 2) << 16) |
      (byteAt(bytes, at + 3) << 24);
    block = Math.imul(block, M);
    block ^= block >>> 24;
    hash = Math.imul(hash, M) ^ Math.imul(block, M);
  }
  const tail = length & 3;
  if (tail === 3) hash ^= byteAt(bytes, blocksEnd + 2) << 16;
  if (tail >= 2) hash ^= byteAt(bytes, blocksEnd + 1) << 8;
  if (tail >= 1) hash = Math.imul(hash ^ byteAt(bytes, blocksEnd), M);
  hash = Math.imul(hash ^ (hash >>> 13), M);
  return hash ^ (hash >>> 15);
}

/** The partition of a record with this key, of `partitionCount` ≥ 1 (`BuiltInPartitioner.partitionForKey`). */
export function partitionOf(key: Uint8Array, partitionCount: number): number {
  return (murmur2(key) & 0x7fffffff) % partitionCount;
}

function byteAt(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0; // never out of range; the compiler cannot know
}
