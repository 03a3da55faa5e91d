/**
 * What mqtt-packet, which writes the packets of many targets, keeps: every length that it has written, as bytes of their own. Each
 * may hold a block of 64 KiB that it shares with what is long gone, so that a run seems to leak. Written one after the other
 * they share two.
 */
import { Buffer } from "node:buffer";
import { Writable } from "node:stream";
import { writeToStream } from "mqtt-packet";

/** Lengths below this are kept. */
const KEPT_LENGTHS = 16_384;
/** Of a PUBLISH at QoS 0 to a topic name of one character. */
const OTHER_BYTES = 3;

/** Before anything is measured. */
export function keepLengthsTogether(): void {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const payload = Buffer.alloc(KEPT_LENGTHS);
  for (let length = OTHER_BYTES; length < KEPT_LENGTHS; length++) {
    const packet = { cmd: "publish", topic: "t", qos: 0, retain: false, dup: false } as const;
    writeToStream({ ...packet, payload: payload.subarray(0, length - OTHER_BYTES) }, nowhere);
  }
  nowhere.destroy();
}
