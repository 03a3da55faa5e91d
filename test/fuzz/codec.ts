/**
 * The decoder against streams of valid and damaged packets of every version. It throws ProtocolError and nothing else, holds
 * no more than what came, finds the same in every split, the same as mqtt-packet where both accept, and what it reads,
 * written again, is read as the same.
 */
import assert from "node:assert/strict";
import { DEFAULT_LIMITS, LIMITS } from "../../src/limits.ts";
import { Decoder } from "../../src/mqtt/decoder.ts";
import type { ConnectPacket, IncomingPacket, ProtocolVersion } from "../../src/mqtt/packet.ts";
import { ProtocolError, REASON } from "../../src/mqtt/reason_codes.ts";
import { TopicTable } from "../../src/mqtt/topic_table.ts";
import { writeUserProperties } from "../../src/mqtt/user_properties.ts";
import { Random } from "../simulation/random.ts";
import { connectOf, foreignProperty, packetOf, publishOf } from "./client_generator.ts";
import { clientBytes } from "./client_writer.ts";
import { disagreement, readForeign } from "./mqtt_packet_oracle.ts";
import { cutsOf, joined, mutate } from "./mutation.ts";
import type { FuzzTarget, Trail } from "./target.ts";

const VERSIONS = [3, 4, 5, 5, 5] as const;
const NOTHING = new Uint8Array(0);
/** One in so many cases is also read by mqtt-packet, which takes longer than all else. */
const ORACLE_EVERY = 4;
/** One in so many seeds is a packet full of the smallest things, which may take so long on a busy machine. */
const BULK_EVERY = 2_048;
const BULK_MAX_MS = 2_000;
/** Streams made of one conversation: two as it is, in different splits, the others damaged. */
const VARIANTS = 8;
/** What a gathered packet may cost besides twice its bytes: the first buffer of framing.ts. */
const GATHER_BYTES = 512;

interface Decoded {
  readonly packets: IncomingPacket[];
  readonly error: ProtocolError | undefined;
}

/** Fuzzes the decoder; `kept` inputs go through `checkStream`. */
export class CodecTarget implements FuzzTarget {
  readonly name = "codec";
  readonly unit = "streams";
  readonly #topicTable = new TopicTable({ levelsMax: DEFAULT_LIMITS.filterLevelsMax, namesMax: 256 });
  readonly #seen = { cases: 0, accepted: 0, refused: 0, compared: 0, codes: new Set<number>() };

  run(seed: number, trail: Trail): number {
    const random = new Random(seed);
    if (seed % BULK_EVERY === 0) this.#checkBulk(random, trail);
    const conversation = conversationOf(random);
    for (let variant = 0; variant < VARIANTS; variant++) {
      const isSound = variant < 2;
      const stream = isSound ? joined(...conversation.parts) : damagedStream(random, conversation);
      trail.clear();
      trail.add(stream);
      const withOracle = variant % ORACLE_EVERY === 1;
      this.checkStream(stream, { cuts: cutsOf(random, stream.byteLength), isSound, withOracle });
    }
    return VARIANTS;
  }

  check(): void {
    const { cases, accepted, refused, compared, codes } = this.#seen;
    const text = JSON.stringify({ ...this.#seen, codes: [...codes] });
    assert.ok(accepted > cases / 5 && refused > cases / 5, text);
    if (cases < 10_000) return;
    assert.ok(compared > cases / 20 && codes.size >= 5, text);
  }

  /** `isSound`: nothing is wrong with the stream, and each packet is in its shortest form. */
  checkStream(
    stream: Uint8Array,
    options: { readonly cuts: readonly number[]; readonly isSound: boolean; readonly withOracle: boolean },
  ): void {
    const whole = this.#decode(stream, []);
    const seen = this.#seen;
    seen.cases++;
    if (whole.error === undefined) seen.accepted++;
    else {
      seen.refused++;
      seen.codes.add(whole.error.reasonCode);
    }
    const version = versionOf(whole);
    const written = joined(...whole.packets.map((packet) => clientBytes(packet, version)));
    if (options.isSound) {
      assert.equal(whole.error, undefined, "a sound stream is accepted");
      assertSameBytes(written, stream, "what is read, written again, is what came");
    }
    if (options.cuts.length > 0) {
      const split = this.#decode(stream, options.cuts);
      assert.equal(split.error?.message, whole.error?.message, "the same breach in every split");
      assertSameBytes(
        joined(...split.packets.map((packet) => clientBytes(packet, version))),
        written,
        "the same split",
      );
    }
    if (!options.isSound && whole.packets.length > 0) {
      const again = this.#decode(written, []);
      assert.equal(again.error, undefined, "what we accept we accept in its shortest form");
      assertSameBytes(
        joined(...again.packets.map((packet) => clientBytes(packet, version))),
        written,
        "nothing is lost",
      );
    }
    if (options.withOracle) this.#compare(stream, whole.packets);
  }

  /** As many small things as a packet can hold: they cost memory many times their bytes, so that there is an end to them. */
  #checkBulk(random: Random, trail: Trail): void {
    const count = random.pick([LIMITS.userPropertiesMax, LIMITS.topicFiltersMax]) + random.pick([-1, 0, 1, 5_000]);
    const { stream, max } = bulkOf(random, count);
    trail.clear();
    trail.add(stream.subarray(0, 100), `${count} of `);
    const startMs = performance.now();
    const { packets, error } = this.#decode(stream, cutsOf(random, stream.byteLength));
    assert.ok(performance.now() - startMs < BULK_MAX_MS, `${stream.byteLength} bytes take too long`);
    assert.equal(packets.length, count <= max ? 2 : 1, `${count} of ${max}`);
    assert.equal(error?.reasonCode, count <= max ? undefined : REASON.implementationSpecificError);
  }

  #compare(stream: Uint8Array, packets: readonly IncomingPacket[]): void {
    const theirs = readForeign(stream);
    for (const [index, packet] of packets.entries()) {
      const foreign = theirs[index];
      if (foreign === undefined) break;
      this.#seen.compared++;
      assert.equal(disagreement(packet, foreign), undefined, "we and mqtt-packet read the same");
    }
  }

  #decode(stream: Uint8Array, cuts: readonly number[]): Decoded {
    const decoder = new Decoder({
      maximumPacketBytes: DEFAULT_LIMITS.maximumPacketBytes,
      preConnectMaximumPacketBytes: DEFAULT_LIMITS.connectMaxBytes,
      topicTable: this.#topicTable,
    });
    const packets: IncomingPacket[] = [];
    let from = 0;
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0; // a quarter of the time would go into where a breach was found
    try {
      for (let index = 0; index <= cuts.length; index++) {
        const to = cuts[index] ?? stream.byteLength;
        decoder.push(stream.subarray(from, to));
        from = to;
        for (let packet = decoder.next(); packet !== undefined; packet = decoder.next()) {
          packets.push(packet);
          // As the gateway does with who need not prove anything, or has.
          decoder.admit();
        }
        assert.ok(decoder.bufferedBytes <= 2 * to + GATHER_BYTES, `holds ${decoder.bufferedBytes} bytes of ${to}`);
      }
      return { packets, error: undefined };
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      assert.equal(decoder.bufferedBytes, 0, "nothing is held after a breach");
      return { packets, error };
    } finally {
      Error.stackTraceLimit = stackTraceLimit;
    }
  }
}

function versionOf({ packets }: Decoded): ProtocolVersion {
  const [first] = packets;
  return first?.type === "connect" ? first.protocolVersion : 4;
}

/** A CONNECT, and a packet with so many of the smallest filters or user properties; `max` of them are taken. */
function bulkOf(random: Random, count: number): { readonly stream: Uint8Array; readonly max: number } {
  const connect = clientBytes({
    ...connectOf(random, 5),
    authenticationMethod: undefined,
    authenticationData: undefined,
  }, 5);
  const many = <T>(one: T): T[] => Array.from({ length: count }, () => one);
  const options = { qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
  const packet = random.pick<IncomingPacket>([
    {
      type: "subscribe",
      packetId: 1,
      subscriptions: many({ topicFilter: "a", ...options }),
      subscriptionId: undefined,
    },
    { type: "unsubscribe", packetId: 1, topicFilters: many("a") },
    {
      ...publishOf(random, 5),
      topicName: "a",
      topicAlias: undefined,
      properties: { userProperties: writeUserProperties(many(["", ""] as const)) },
    },
  ]);
  const max = packet.type === "publish" ? LIMITS.userPropertiesMax : LIMITS.topicFiltersMax;
  return { stream: joined(connect, clientBytes(packet, 5)), max };
}

interface Conversation {
  readonly version: ProtocolVersion;
  readonly connect: ConnectPacket;
  readonly parts: readonly Uint8Array[];
}

/** A CONNECT and some packets after it, all sound. */
function conversationOf(random: Random): Conversation {
  const version = random.pick(VERSIONS);
  const connect = connectOf(random, version);
  const parts = [clientBytes(connect, version)];
  for (let count = random.below(4); count > 0; count--) {
    const packet = packetOf(random, version);
    // A second CONNECT is refused, and AUTH where the CONNECT names no method.
    if (packet.type === "connect" || (packet.type === "auth" && connect.authenticationMethod === undefined)) continue;
    parts.push(clientBytes(packet, version));
  }
  return { version, connect, parts };
}

/** The conversation with something wrong, or at least something else. */
function damagedStream(random: Random, { version, connect, parts }: Conversation): Uint8Array {
  const damaged = [...parts];
  const at = parts.length > 1 && random.chance(0.8) ? random.between(1, parts.length - 1) : 0;
  const kind = random.below(6);
  if (kind === 0) return joined(...parts, random.bytes(random.between(1, 40)));
  const packet = random.chance(0.2) ? connect : packetOf(random, version);
  if (kind === 1) { // what does not belong here
    const foreign = version === 5 ? foreignProperty(random) : NOTHING;
    damaged.splice(packet === connect ? 0 : at + 1, packet === connect ? 1 : 0, clientBytes(packet, version, foreign));
  } else damaged[at] = mutate(random, parts[at] ?? NOTHING, clientBytes(packet, version));
  return joined(...damaged);
}

function assertSameBytes(found: Uint8Array, wanted: Uint8Array, what: string): void {
  if (found.byteLength === wanted.byteLength) {
    let at = 0;
    while (at < found.byteLength && found[at] === wanted[at]) at++;
    if (at === found.byteLength) return;
  }
  assert.deepEqual(found, wanted, what);
}
