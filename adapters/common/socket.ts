/**
 * The socket port over `node:net` and `node:tls`: bytes as they come, half-close, and who the peer is. Must not know MQTT.
 */

import type { Socket as NetSocket } from "node:net";
import { LIMITS } from "../../src/limits.ts";
import type { PeerTls, Socket } from "../../src/ports.ts";
import { type ByteSink, type ByteSource, createEnding, readableOf, writableOf } from "./byte_streams.ts";

/** Who is on the other side; undefined when the peer has gone before anyone looked. */
export function peerOf(net: NetSocket, tls: PeerTls | undefined): Socket["peer"] | undefined {
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

/**
 * Wraps an accepted socket that was made with `allowHalfOpen`. Undefined if the peer has already gone; the socket is then
 * destroyed. A promise returned by `write()` rejects when the connection fails: whoever does not await it handles that.
 */
export function toSocket(net: NetSocket, tls?: PeerTls): Socket | undefined {
  const ending = createEnding();
  // First of all: an error nobody listens to ends the process.
  net.on("error", ending.fail);
  const peer = peerOf(net, tls);
  if (peer === undefined) {
    net.destroy();
    return undefined;
  }
  net.on("close", () => ending.fail(new Error("The connection is closed")));
  net.setNoDelay(true);
  net.setKeepAlive(true, LIMITS.socketProbeMs); // on the socket: Deno ignores the server's option
  return {
    readable: readableOf(sourceOf(net), ending),
    writable: writableOf(sinkOf(net), ending),
    peer,
    abort(): void {
      ending.fail(new Error("The connection was aborted"));
      net.destroy();
    },
  };
}
