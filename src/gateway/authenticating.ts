/**
 * Enhanced authentication (MQTT 5 §4.12): carries the exchange of a method in AUTH packets, before the CONNACK and again on an
 * open connection. Knows packets and their order; what the data means is the method's business (src/access), what follows
 * from a CONNECT's authentication is connecting.ts.
 */
import type { Identity } from "../access/access.ts";
import type { Exchange, ExchangeStep } from "../access/exchange.ts";
import { LIMITS } from "../limits.ts";
import type { AuthPacket, ConnackPacket, ConnectPacket, IncomingPacket } from "../mqtt/packet.ts";
import { ProtocolError, REASON } from "../mqtt/reason_codes.ts";
import type { Connection } from "./connection.ts";
import type { Hub } from "./hub.ts";

/** What the CONNACK of an authenticated client carries. */
export type AuthenticationProperties = Pick<
  NonNullable<ConnackPacket["properties"]>,
  "authenticationMethod" | "authenticationData"
>;

/** How an exchange ended. `message` may be told to the client. */
export type AuthenticationOutcome =
  | { readonly allowed: true; readonly identity: Identity; readonly properties: AuthenticationProperties }
  | { readonly allowed: false; readonly reasonCode: number; readonly message: string };

/** An exchange under way on a connection. */
interface Pending {
  readonly exchange: Exchange;
  readonly method: string;
  readonly sinceMs: number;
  /** The phase of the connection while the client's data is looked at. */
  readonly phase: "connecting" | "open";
  /** The client's data is looked at: its next packet has to wait for the answer. */
  isBusy: boolean;
  readonly end: (outcome: AuthenticationOutcome) => void;
}

export class Authenticating {
  readonly #hub: Hub;
  readonly #pending = new Map<Connection, Pending>();
  /** Told about every re-authentication that failed. */
  onFailed: (connection: Connection, error: ProtocolError) => void = () => {};

  constructor(hub: Hub) {
    this.#hub = hub;
  }

  /** Begins with a CONNECT that has an Authentication Method. `end` is called once, unless the connection ends before. */
  begin(connection: Connection, packet: ConnectPacket, end: Pending["end"]): void {
    const { authenticationMethod: method = "", authenticationData, userName } = packet;
    const exchange = this.#exchange(method, userName);
    if (exchange === undefined) {
      const message = "The authentication method is not supported";
      // [MQTT5-4.12.0-1]
      return end({ allowed: false, reasonCode: REASON.badAuthenticationMethod, message });
    }
    const pending = {
      exchange,
      method,
      sinceMs: connection.openedMs,
      phase: "connecting",
      isBusy: false,
      end,
    } as const;
    this.#take(connection, this.#add(connection, pending), authenticationData);
  }

  /** Refuses what must not come before the CONNACK. Throws ProtocolError. */
  check(packet: IncomingPacket): void {
    if (packet.type === "auth" || packet.type === "disconnect") return;
    // [MQTT5-3.1.2-30]
    throw new ProtocolError(
      REASON.protocolError,
      "Only AUTH and DISCONNECT may come before the authentication is over",
    );
  }

  /** AUTH from the client. Throws ProtocolError when it is not its turn. */
  auth(connection: Connection, packet: AuthPacket): void {
    const method = connection.authenticationMethod;
    if (method === undefined) {
      throw new ProtocolError(REASON.protocolError, "An AUTH needs an Authentication Method in CONNECT");
    }
    if (packet.authenticationMethod !== method) { // [MQTT5-4.12.0-5] [MQTT5-4.12.1-1]
      throw new ProtocolError(REASON.protocolError, "The Authentication Method must be the one in CONNECT");
    }
    const pending = this.#pending.get(connection);
    if (packet.reasonCode === REASON.reAuthenticate) {
      if (pending === undefined) return this.#beginAgain(connection, method, packet);
      throw new ProtocolError(REASON.protocolError, "The authentication before is not over"); // [MQTT5-4.12.0-3]
    }
    if (pending === undefined || pending.isBusy) { // an answer, and there is nothing to answer
      throw new ProtocolError(REASON.protocolError, "There is no authentication to continue");
    }
    this.#take(connection, pending, packet.authenticationData);
  }

  closed(connection: Connection): void {
    this.#pending.delete(connection);
  }

  /** Ends what takes too long: clients without CONNACK hold a slot, and nobody is to be half authenticated for ever. */
  tick(nowMs: number): void {
    for (const [connection, pending] of this.#pending) {
      if (nowMs - pending.sinceMs <= LIMITS.connectTimeoutMs) continue;
      this.#pending.delete(connection);
      if (connection.phase !== pending.phase && connection.phase !== "authenticating") continue;
      const message = "The authentication took too long";
      pending.end({ allowed: false, reasonCode: REASON.notAuthorized, message });
    }
  }

  /** On the open connection, which goes on meanwhile with the rights it has; who it is cannot change. */
  #beginAgain(connection: Connection, method: string, packet: AuthPacket): void {
    const exchange = this.#exchange(method, connection.identity.user);
    if (exchange === undefined) throw new ProtocolError(REASON.protocolError, "There is no such method any more");
    const end = (outcome: AuthenticationOutcome): void => {
      if (!outcome.allowed) return this.#failAgain(connection, outcome);
      connection.outbox.packet({ type: "auth", reasonCode: REASON.success, ...outcome.properties });
    };
    const sinceMs = this.#hub.platform.clock.nowMs();
    const pending = { exchange, method, sinceMs, phase: "open", isBusy: false, end } as const;
    this.#take(connection, this.#add(connection, pending), packet.authenticationData);
  }

  #failAgain(connection: Connection, outcome: { readonly reasonCode: number; readonly message: string }): void {
    // DISCONNECT has no 0x86 and no 0x88 (§3.14.2.1).
    const reasonCode = outcome.reasonCode === REASON.serverUnavailable
      ? REASON.implementationSpecificError
      : REASON.notAuthorized;
    this.onFailed(connection, new ProtocolError(reasonCode, outcome.message)); // [MQTT5-4.12.1-2]
  }

  #exchange(method: string, userName: string | undefined): Exchange | undefined {
    const { access, platform } = this.#hub;
    return access.exchange({ method, userName, randomBytes: (length) => platform.randomBytes(length) });
  }

  #add(connection: Connection, pending: Pending): Pending {
    this.#pending.set(connection, pending);
    return pending;
  }

  #take(connection: Connection, pending: Pending, data: Uint8Array | undefined): void {
    if (data !== undefined && data.byteLength > LIMITS.authenticationDataBytes) {
      this.#pending.delete(connection);
      const message = `The Authentication Data is longer than ${LIMITS.authenticationDataBytes} bytes`;
      return pending.end({ allowed: false, reasonCode: REASON.notAuthorized, message });
    }
    pending.isBusy = true;
    connection.phase = pending.phase; // before the CONNACK nothing more is read until this is answered
    // Never rejects; an exception in here is a bug of ours and ends the process.
    void pending.exchange.next(data).then((step) => {
      if (connection.phase === pending.phase) this.#step(connection, pending, step); // else it is gone
    });
  }

  #step(connection: Connection, pending: Pending, step: ExchangeStep): void {
    const { method } = pending;
    if (step.kind === "continue") {
      if (this.#ask(connection, pending, step.data)) return;
      const message = "The Maximum Packet Size leaves no room for the authentication";
      this.#pending.delete(connection);
      return pending.end({ allowed: false, reasonCode: REASON.implementationSpecificError, message });
    }
    this.#pending.delete(connection);
    if (step.kind === "refused") {
      return pending.end({ allowed: false, reasonCode: REFUSALS[step.reason], message: step.message }); // [MQTT5-4.12.0-4]
    }
    const properties = { authenticationMethod: method, authenticationData: step.data };
    pending.end({ allowed: true, identity: step.identity, properties });
  }

  /** Asks the client for more. False: that does not fit into a packet that it takes. */
  #ask(connection: Connection, pending: Pending, data: Uint8Array | undefined): boolean {
    pending.isBusy = false;
    // [MQTT5-4.12.0-2] [MQTT5-4.12.0-5]; no reason string and no user properties [MQTT5-3.15.2-2] [MQTT5-3.15.2-3].
    const isSent = connection.outbox.packet({
      type: "auth",
      reasonCode: REASON.continueAuthentication,
      authenticationMethod: pending.method,
      ...(data === undefined ? {} : { authenticationData: data }),
    });
    if (!isSent || pending.phase === "open") return isSent;
    connection.phase = "authenticating";
    connection.checkReading();
    return true;
  }
}

/** MQTT 5 §3.2.2.2. */
const REFUSALS = {
  "bad-credentials": REASON.badUserNameOrPassword,
  "not-authorized": REASON.notAuthorized,
  "unavailable": REASON.serverUnavailable,
} as const;
