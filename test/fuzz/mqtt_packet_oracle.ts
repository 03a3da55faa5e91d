/**
 * Whether mqtt-packet reads the same out of bytes that both accept. It takes more than it should, so that what it takes and
 * we do not says nothing.
 */
import { Buffer } from "node:buffer";
import mqttPacket from "mqtt-packet";
import type { Packet } from "mqtt-packet";
import type { MessageProperties } from "../../src/mqtt/message.ts";
import type { ConnectPacket, IncomingPacket, PublishPacket } from "../../src/mqtt/packet.ts";

type Foreign = Record<string, unknown>;

/** What mqtt-packet makes of the stream, up to where it gives up. */
export function readForeign(stream: Uint8Array): Packet[] {
  const packets: Packet[] = [];
  const parser = mqttPacket.parser();
  parser.on("packet", (packet: Packet) => packets.push(packet));
  parser.on("error", () => undefined);
  try {
    parser.parse(Buffer.from(stream.buffer, stream.byteOffset, stream.byteLength));
  } catch {
    // It is an oracle only for what it accepts.
  }
  return packets;
}

/** Undefined when both say the same, else the field where they differ. */
export function disagreement(ours: IncomingPacket, theirs: Packet): string | undefined {
  const foreign = theirs as unknown as Foreign; // its fields are looked up by name
  const differing = Object.entries({ cmd: ours.type, ...expected(ours) })
    .find(([name, value]) => !same(value, foreign[name]));
  return differing === undefined
    ? undefined
    : `${ours.type}.${differing[0]}: ${JSON.stringify(differing[1])} here, ${
      JSON.stringify(foreign[differing[0]])
    } there`;
}

function expected(packet: IncomingPacket): Foreign {
  switch (packet.type) {
    case "connect":
      return expectedConnect(packet);
    case "publish":
      return expectedPublish(packet);
    case "puback":
    case "pubrec":
    case "pubrel":
    case "pubcomp":
      return { messageId: packet.packetId };
    case "subscribe":
      return {
        messageId: packet.packetId,
        subscriptions: packet.subscriptions.map(({ topicFilter, qos }) => ({ topic: topicFilter, qos })),
      };
    case "unsubscribe":
      return { messageId: packet.packetId, unsubscriptions: packet.topicFilters };
    case "auth":
      return { reasonCode: packet.reasonCode };
    case "disconnect":
    case "pingreq":
      return {};
  }
}

function expectedConnect(packet: ConnectPacket): Foreign {
  const { will, userName, password } = packet;
  return {
    protocolVersion: packet.protocolVersion,
    clientId: packet.clientId,
    clean: packet.cleanStart,
    keepalive: packet.keepAliveSeconds,
    ...(userName === undefined ? {} : { username: userName }),
    ...(password === undefined ? {} : { password }),
    ...(will === undefined
      ? {}
      : { will: { topic: will.topicName, payload: will.payload, qos: will.qos, retain: will.retain } }),
    ...(packet.protocolVersion !== 5 || packet.sessionExpirySeconds === 0
      ? {}
      : { properties: { sessionExpiryInterval: packet.sessionExpirySeconds } }),
  };
}

function expectedPublish(packet: PublishPacket): Foreign {
  const { topicAlias, properties = {} } = packet;
  return {
    topic: packet.topicName,
    payload: packet.payload,
    qos: packet.qos,
    retain: packet.retain,
    ...(packet.qos === 0 ? {} : { messageId: packet.packetId, dup: packet.dup }),
    ...(topicAlias === undefined && packet.properties === undefined
      ? {}
      : { properties: { ...(topicAlias === undefined ? {} : { topicAlias }), ...expectedProperties(properties) } }),
  };
}

/** Without user properties: it keeps them in an object, where those of the same name change their places. */
function expectedProperties(from: MessageProperties): Foreign {
  const { payloadIsUtf8, messageExpirySeconds, contentType, responseTopic, correlationData } = from;
  return {
    ...(payloadIsUtf8 === undefined ? {} : { payloadFormatIndicator: payloadIsUtf8 }),
    ...(messageExpirySeconds === undefined ? {} : { messageExpiryInterval: messageExpirySeconds }),
    ...(contentType === undefined ? {} : { contentType }),
    ...(responseTopic === undefined ? {} : { responseTopic }),
    ...(correlationData === undefined ? {} : { correlationData }),
  };
}

/** Whether what is expected is there; what is there besides does not matter. */
function same(wanted: unknown, found: unknown): boolean {
  if (wanted instanceof Uint8Array) return found instanceof Uint8Array && Buffer.compare(wanted, found) === 0;
  if (Array.isArray(wanted)) {
    return Array.isArray(found) && wanted.length === found.length &&
      wanted.every((item, index) => same(item, found[index]));
  }
  if (typeof wanted === "object" && wanted !== null) {
    if (typeof found !== "object" || found === null) return false;
    const fields = found as Foreign; // an object's fields are looked up by name
    return Object.entries(wanted).every(([name, value]) => same(value, fields[name]));
  }
  return wanted === found;
}
