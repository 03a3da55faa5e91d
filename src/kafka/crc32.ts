/** CRC-32 (IEEE 802.3, reflected, as in zlib), over several pieces. Pure; no security against anybody who wants to collide. */

/** Four tables: four bytes a step (slicing-by-4). Table n holds the CRC of a byte followed by n zero bytes. */
const TABLES = makeTables();

function makeTables(): readonly [Int32Array, Int32Array, Int32Array, Int32Array] {
  const tables = [new Int32Array(256), new Int32Array(256), new Int32Array(256), new Int32Array(256)] as const;
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    tables[0][byte] = crc;
  }
  for (let byte = 0; byte < 256; byte++) {
    for (let table = 1; table < 4; table++) {
      const before = (tables[table - 1] ?? tables[0])[byte] ?? 0;
      (tables[table] ?? tables[0])[byte] = (before >>> 8) ^ (tables[0][before & 0xff] ?? 0);
    }
  }
  return [tables[0], tables[1], tables[2], tables[3]];
}

/** The CRC of the bytes, unsigned. Pass the CRC of what came before to go on from there. */
export function crc32(bytes: Uint8Array, before: number = 0): number {
  const [table0, table1, table2, table3] = TABLES;
  let crc = ~before;
  let at = 0;
  // Indexes are in range by their masks and the loop bounds; `?? 0` is for the compiler.
  for (const end = bytes.length - 3; at < end; at += 4) {
    crc ^= (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24);
    crc = (table3[crc & 0xff] ?? 0) ^ (table2[(crc >>> 8) & 0xff] ?? 0) ^ (table1[(crc >>> 16) & 0xff] ?? 0) ^
      (table0[crc >>> 24] ?? 0);
  }
  for (; at < bytes.length; at++) crc = (crc >>> 8) ^ (table0[(crc ^ (bytes[at] ?? 0)) & 0xff] ?? 0);
  return ~crc >>> 0;
}
