/**
 * The open ports. They are opened before the log, so that a port in use changes nothing on disk, and lead nowhere until
 * `serve` says where: until then clients are cut off and HTTP answers 503.
 */
import type { Config, ListenerConfig } from "../config/config.ts";
import type { Listener, Network, Socket } from "../ports.ts";

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

/** Opens every configured port or none. Throws TributaryError `listen.*`. */
export async function openListeners(
  network: Network,
  config: Pick<Config, "listeners" | "tls" | "http">,
  { connectionsMax }: { readonly connectionsMax: number },
): Promise<Listeners> {
  let front = NOWHERE;
  const opened: Listener[] = [];
  const close = async (): Promise<void> => {
    for (const listener of opened.splice(0)) await listener.close();
  };
  try {
    const mqtt: { listener: ListenerConfig; port: number }[] = [];
    for (const listener of config.listeners) {
      const { protocol, host, port } = listener;
      const tls = protocol === "mqtts" && config.tls !== undefined ? { tls: config.tls } : {};
      const onSocket = (socket: Socket): void => front.accept(socket);
      const open = await network.listen({ protocol, host, port, ...tls, connectionsMax, onSocket });
      opened.push(open);
      mqtt.push({ listener, port: open.port });
    }
    let httpPort: number | undefined;
    if (config.http !== undefined) {
      const { host, port } = config.http;
      const open = await network.listenHttp({ host, port, fetch: (request) => front.fetch(request) });
      opened.push(open);
      httpPort = open.port;
    }
    return { mqtt, httpPort, serve: (to) => void (front = to), close };
  } catch (error) {
    await close();
    throw error;
  }
}
