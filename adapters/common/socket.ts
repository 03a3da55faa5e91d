/**
 * The socket port over `node:net` and `node:tls`: bytes as they come, half-close, and who the peer is. Must not know MQTT.
 */

import type { Socket as NetSocket } from "node:net";
import { LIMITS } from "../../src/limits.ts";
import type { PeerTls, Socket } from "../../src/ports.ts";
import { ByteStreams, type Carrier } from "./byte_streams.ts";

/** Who is on the other side; undefined when the peer has gone before anyone looked. */
function peerOf(net: NetSocket, tls: PeerTls | undefined): Socket["peer"] | undefined {
  const { remoteAddress, remotePort } = net;
  if (net.destroyed || remoteAddress === undefined || remotePort === undefined) return undefined;
  // A dual-stack listener shows IPv4 peers as ::ffff:192.0.2.1; one spelling per address keeps limits per address honest.
  const address = remoteAddress.startsWith("::ffff:") ? remoteAddress.slice(7) : remoteAddress;
  return tls === undefined ? { address, port: remotePort } : { address, port: remotePort, tls };
}

/**
 * Makes an accepted connection ready to be served, and tells who is there. Undefined, and destroyed, if the peer has
 * already gone.
 */
export function prepare(net: NetSocket, tls: PeerTls | undefined): Socket["peer"] | undefined {
  const peer = peerOf(net, tls);
  if (peer === undefined) {
    net.on("error", () => undefined); // an error nobody listens to ends the process
    net.destroy();
    return undefined;
  }
  net.setNoDelay(true);
  net.setKeepAlive(true, LIMITS.socketProbeMs); // on the socket: Deno ignores the server's option
  return peer;
}

/** A connection and the two streams over it: all that is the same for whatever its bytes mean. */
export abstract class StreamedConnection implements Socket, Carrier {
  protected readonly net: NetSocket;
  protected readonly streams: ByteStreams;
  readonly peer: Socket["peer"];
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;

  constructor(net: NetSocket, peer: Socket["peer"]) {
    const streams = new ByteStreams(this);
    this.net = net;
    this.streams = streams;
    this.peer = peer;
    this.readable = streams.readable;
    this.writable = streams.writable;
    net.on("error", (error) => streams.fail(error));
    net.on("drain", () => streams.drained());
    net.on("close", () => streams.fail(new Error("The connection is closed")));
  }

  abstract write(chunk: Uint8Array): boolean;
  abstract end(done: () => void): void;

  pause(): void {
    this.net.pause();
  }

  resume(): void {
    this.net.resume();
  }

  destroy(): void {
    this.net.destroy();
  }

  abort(): void {
    this.streams.fail(new Error("The connection was aborted"));
    this.net.destroy();
  }
}

class NetConnection extends StreamedConnection {
  constructor(net: NetSocket, peer: Socket["peer"]) {
    super(net, peer);
    const { streams } = this;
    net.on("data", (read: Uint8Array) => streams.take(read));
    net.on("end", () => streams.end());
  }

  write(chunk: Uint8Array): boolean {
    return this.net.write(chunk);
  }

  end(done: () => void): void {
    this.net.end(done);
  }
}

/**
 * Wraps an accepted socket that was made with `allowHalfOpen`. Undefined if the peer has already gone. A promise returned
 * by `write()` rejects when the connection fails: whoever does not await it handles that.
 */
export function toSocket(net: NetSocket, tls?: PeerTls): Socket | undefined {
  const peer = prepare(net, tls);
  return peer && new NetConnection(net, peer);
}
