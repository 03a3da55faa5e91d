/** Who may see details: whoever shows the token, and on a loopback listener whoever is on this machine. */

export interface AuthorityOptions {
  /** Undefined only while the listener is on loopback. */
  readonly token: string | undefined;
  /** The host that is listened on. */
  readonly host: string;
  readonly isLoopback: (host: string) => boolean;
}

/** Whether a request may see details. */
export function createAuthority({ token, host, isLoopback }: AuthorityOptions): (request: Request) => boolean {
  const onLoopback = isLoopback(host);
  return (request) => {
    if (token !== undefined && bearerMatches(request.headers.get("authorization"), token)) return true;
    // A page on the web can reach a loopback port through the browser by a name of its own (DNS rebinding), so that the
    // name which was asked for must be one of this machine too.
    return onLoopback && isLoopback(hostName(request));
  };
}

function hostName(request: Request): string {
  const { hostname } = new URL(request.url);
  const named = request.headers.get("host") ?? hostname;
  const match = /^(?:\[([^\]]*)\]|([^:]*))(?::\d+)?$/.exec(named);
  return match?.[1] ?? match?.[2] ?? "";
}

function bearerMatches(header: string | null, token: string): boolean {
  const shown = /^Bearer +(\S+)$/i.exec(header ?? "")?.[1];
  return shown !== undefined && equalTexts(shown, token);
}

/** Takes a time that depends on the length of what was shown only. */
export function equalTexts(shown: string, secret: string): boolean {
  let difference = shown.length ^ secret.length;
  for (let index = 0; index < shown.length; index++) {
    difference |= shown.charCodeAt(index) ^ secret.charCodeAt(index % secret.length);
  }
  return difference === 0;
}
