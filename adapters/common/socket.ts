/**
 * The socket port over `node:net` and `node:tls`: bytes as they come, half-close, and who the peer is. Must not know MQTT.
 */

import type { Socket as NetSocket } from "node:net";
import { LIMITS } from "../../src/limits.ts";
import type { PeerTls, Socket } from "../../src/ports.ts";
import { type ByteSink, type ByteSource, createEnding, type Ending, readableOf, writableOf } from "./byte_streams.ts";

/** Who is on the other side; undefined when the peer has gone before anyone looked. */
function peerOf(net: NetSocket, tls: PeerTls | undefined): Socket["peer"] | undefined {
  const { remoteAddress, remotePort } = net;
  if (net.destroyed || remoteAddress === undefined || remotePort === undefined) return undefined;
  // A dual-stack listener shows IPv4 peers as ::ffff:192.0.2.1; one spelling per address keeps limits per address honest.
  const address = remoteAddress.startsWith("::ffff:") ? remoteAddress.slice(7) : remoteAddress;
  return tls === undefined ? { address, port: remotePort } : { address, port: remotePort, tls };
}

function sourceOf(net: NetSocket): ByteSource {
  return {
    start(take, end): void {
      net.on("data", take);
      net.on("end", end);
    },
    pause: () => void net.pause(),
    resume: () => void net.resume(),
  };
}

function sinkOf(net: NetSocket): ByteSink {
  return {
    start: (drained) => void net.on("drain", drained),
    write: (chunk) => net.write(chunk),
    end: (done) => void net.end(done),
    destroy: () => void net.destroy(),
  };
}

/** What carries bytes over a connection. */
export interface Carrier {
  readonly source: ByteSource;
  readonly sink: ByteSink;
  abort(): void;
}

/** The socket port over a connection, by what `carry` makes of it. Undefined, and destroyed, if the peer has already gone. */
export function socketOver(
  net: NetSocket,
  tls: PeerTls | undefined,
  carry: (ending: Ending) => Carrier,
): Socket | undefined {
  const ending = createEnding();
  // First of all: an error nobody listens to ends the process.
  net.on("error", ending.fail);
  const peer = peerOf(net, tls);
  if (peer === undefined) {
    net.destroy();
    return undefined;
  }
  net.setNoDelay(true);
  net.setKeepAlive(true, LIMITS.socketProbeMs); // on the socket: Deno ignores the server's option
  const carrier = carry(ending);
  return {
    readable: readableOf(carrier.source, ending),
    writable: writableOf(carrier.sink, ending),
    peer,
    abort: () => carrier.abort(),
  };
}

/**
 * Wraps an accepted socket that was made with `allowHalfOpen`. Undefined if the peer has already gone. A promise returned
 * by `write()` rejects when the connection fails: whoever does not await it handles that.
 */
export function toSocket(net: NetSocket, tls?: PeerTls): Socket | undefined {
  return socketOver(net, tls, (ending) => {
    net.on("close", () => ending.fail(new Error("The connection is closed")));
    return {
      source: sourceOf(net),
      sink: sinkOf(net),
      abort(): void {
        ending.fail(new Error("The connection was aborted"));
        net.destroy();
      },
    };
  });
}
