/**
 * The open ports. They are opened before the log, so that a port in use changes nothing on disk, and lead nowhere until
 * `serve` says where: until then clients are cut off and HTTP answers 503.
 */
import type { Config, ListenerConfig } from "../config/config.ts";
import { isEncrypted, isSamePlace } from "../config/values.ts";
import type { Limits } from "../limits.ts";
import type { Listener, ListenOptions, Network, Socket } from "../ports.ts";
import { originCheck } from "./origins.ts";

/** Where accepted connections and requests go. */
export interface Front {
  readonly accept: (socket: Socket) => void;
  readonly fetch: (request: Request) => Response | Promise<Response>;
}

export interface Listeners {
  /** Those for clients, with the ports that were opened: a configured one may be 0. */
  readonly mqtt: readonly { readonly listener: ListenerConfig; readonly port: number }[];
  readonly httpPort: number | undefined;
  serve(front: Front): void;
  /** Stops accepting; open connections live on. Does nothing the second time. */
  close(): Promise<void>;
}

const NOWHERE: Front = {
  accept: (socket) => socket.abort(),
  fetch: () => Response.json({ status: "starting" }, { status: 503 }),
};

type ListenersConfig = Pick<Config, "listeners" | "webSocketOrigins" | "tls" | "http">;

/** What the network is told about the clients of a listener. */
type ClientLimits = Pick<Limits, "connectionsMax" | "halfOpenMax" | "halfOpenPerAddressMax">;

/** Opens every configured port or none. Throws TributaryError `listen.*`. */
export async function openListeners(
  network: Network,
  config: ListenersConfig,
  limits: ClientLimits,
): Promise<Listeners> {
  let front = NOWHERE;
  const opened: Listener[] = [];
  const close = async (): Promise<void> => {
    for (const listener of opened.splice(0)) await listener.close();
  };
  const { connectionsMax } = limits;
  const clients = { connectionsMax, onSocket: (socket: Socket): void => front.accept(socket) };
  const beside = config.listeners.find((listener) => config.http !== undefined && isSamePlace(listener, config.http));
  try {
    const mqtt: { listener: ListenerConfig; port: number }[] = [];
    for (const listener of config.listeners) {
      const { protocol, host, port } = listener;
      if (listener === beside) {
        mqtt.push({ listener, port }); // opened with HTTP
        continue;
      }
      const tls = isEncrypted(listener) && config.tls !== undefined ? { tls: config.tls } : {};
      const open = await network.listen({ protocol, host, port, ...tls, ...webSocketOf(listener), ...clients });
      opened.push(open);
      mqtt.push({ listener, port: open.port });
    }
    let httpPort: number | undefined;
    if (config.http !== undefined) {
      const { host, port } = config.http;
      const { webSocket } = beside === undefined ? {} : webSocketOf(beside);
      const open = await network.listenHttp({
        host,
        port,
        fetch: (request) => front.fetch(request),
        ...(webSocket === undefined ? {} : { webSocket: { ...webSocket, ...clients } }),
      });
      opened.push(open);
      httpPort = open.port;
    }
    return { mqtt, httpPort, serve: (to) => void (front = to), close };
  } catch (error) {
    await close();
    throw error;
  }

  function webSocketOf({ host, path }: ListenerConfig): Pick<ListenOptions, "webSocket"> {
    if (path === undefined) return {};
    const { halfOpenMax, halfOpenPerAddressMax } = limits;
    const allowsOrigin = originCheck(host, config.webSocketOrigins);
    return { webSocket: { path, allowsOrigin, halfOpenMax, halfOpenPerAddressMax } };
  }
}
