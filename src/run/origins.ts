/**
 * Which web pages may connect over WebSocket. A browser connects for any page to any address, and says only in the `Origin`
 * header which page it was. Pure; must not know how connections are made.
 */
import { isLoopback } from "../config/values.ts";

/**
 * Decides by a page's origin. Without a list, a listener on loopback lets in the pages of this machine only: it asks nobody
 * who he is, and that nobody else can reach it must stay true for the pages of strangers. Elsewhere a page has to give a
 * user name and password in its CONNECT like everybody else: the browser adds none of its own.
 */
export function originCheck(host: string, allowed: readonly string[] | undefined): (origin: string) => boolean {
  if (allowed !== undefined) {
    const origins = new Set(allowed);
    return (origin) => origins.has("*") || origins.has(origin.toLowerCase());
  }
  if (!isLoopback(host)) return () => true;
  return (origin) => {
    const match = /^[a-z][a-z0-9+.-]*:\/\/(?:\[([^\]]+)\]|([^:/]+))(?::\d+)?$/i.exec(origin);
    return isLoopback(match?.[1] ?? match?.[2] ?? "");
  };
}
