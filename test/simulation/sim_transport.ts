/**
 * One simulated network connection under the gateway's Transport seam: bytes travel when the simulation says so, in
 * pieces of any size. Knows nothing of MQTT.
 */
import type { Receiving, Transport } from "../../src/gateway/transport.ts";
import { concatBytes } from "./bytes.ts";

/** What the client's end of the connection is told. */
export interface ClientEnd {
  bytes(chunk: Uint8Array): void;
  /** The connection is over for the client: FIN after everything, or broken. */
  over(): void;
}

export class SimTransport implements Transport {
  readonly peer = { address: "10.0.0.1", port: 40_000 };
  onDrain: () => void = () => {};
  receiving: Receiving | undefined;
  /** While true nothing reaches the client, like a peer that does not read. */
  isStalled = false;
  /** While true nothing reaches the gateway, although the connection stands. */
  isMute = false;
  /** The gateway's end knows that it is over. */
  isOver = false;
  readonly #client: ClientEnd;
  #toClient: Uint8Array[] = [];
  #toGateway: Uint8Array[] = [];
  #queuedBytes = 0;
  #finFromGateway = false;
  /** The gateway does not read on. */
  #isPaused = false;
  /** The client is gone; the gateway may not know yet. */
  #isCut = false;
  /** The client has sent FIN behind what it sent before, and still reads. */
  #finFromClient = false;

  constructor(client: ClientEnd) {
    this.#client = client;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  get hasWork(): boolean {
    if (this.isOver || this.#isCut) return false;
    const towardsClient = this.#toClient.length > 0 || this.#finFromGateway;
    const towardsGateway = this.#toGateway.length > 0 || this.#finFromClient;
    return (!this.isStalled && towardsClient) || (!this.#isPaused && !this.isMute && towardsGateway);
  }

  /** The gateway sends nothing more on it. */
  get isClosedByGateway(): boolean {
    return this.isOver || this.#finFromGateway;
  }

  write(chunk: Uint8Array): void {
    if (this.isOver) return;
    this.#toClient.push(chunk.slice());
    this.#queuedBytes += chunk.byteLength;
  }

  end(): void {
    this.#finFromGateway = true;
  }

  abort(): void {
    if (this.isOver) return;
    this.isOver = true;
    if (!this.#isCut) this.#client.over();
    this.#isCut = true;
  }

  /** From the client. */
  send(bytes: Uint8Array): void {
    if (!this.#isCut && !this.#finFromClient) this.#toGateway.push(bytes);
  }

  get isHalfClosed(): boolean {
    return this.#finFromClient;
  }

  /** The client closes its direction only. */
  halfClose(): void {
    this.#finFromClient = true;
  }

  /** The client's side breaks. The gateway hears of it, or keeps a half-open connection. */
  cut(options: { readonly gatewayHears: boolean }): void {
    this.#isCut = true;
    if (options.gatewayHears) this.hear();
  }

  /** The gateway finds out that the connection is over. */
  hear(): void {
    if (this.isOver) return;
    this.#isCut = true;
    this.receiving?.ended();
    this.isOver = true;
  }

  /** The gateway's process is dead: so are its sockets. */
  die(): void {
    if (!this.isOver && !this.#isCut) this.#client.over();
    this.isOver = true;
    this.#isCut = true;
  }

  /** Up to `bytesMax` bytes reach the gateway. */
  toGateway(bytesMax: number): void {
    if (this.isOver || this.#isCut || this.#isPaused || this.isMute) return;
    if (this.#toGateway.length === 0) {
      if (this.#finFromClient) this.#hearFin();
      return;
    }
    const all = concatBytes(this.#toGateway);
    const chunk = all.slice(0, bytesMax);
    this.#toGateway = all.byteLength > bytesMax ? [all.slice(bytesMax)] : [];
    const wait = this.receiving?.receive(chunk);
    if (wait === undefined) return;
    this.#isPaused = true;
    void wait.then(() => this.#isPaused = false);
  }

  /** What the gateway has written by then still arrives. */
  #hearFin(): void {
    this.isStalled = false;
    this.toClient(Infinity);
    if (this.isOver) return;
    this.#client.over();
    this.hear();
  }

  /** Up to `bytesMax` bytes reach the client, and FIN behind the last one. */
  toClient(bytesMax: number): void {
    if (this.isOver || this.#isCut || this.isStalled) return;
    const all = concatBytes(this.#toClient);
    const chunk = all.slice(0, bytesMax);
    this.#toClient = all.byteLength > bytesMax ? [all.slice(bytesMax)] : [];
    this.#queuedBytes -= chunk.byteLength;
    if (chunk.byteLength > 0) {
      this.#client.bytes(chunk);
      this.onDrain();
    }
    if (!this.#finFromGateway || this.#toClient.length > 0 || this.isOver) return;
    this.#client.over();
    this.hear();
  }
}
