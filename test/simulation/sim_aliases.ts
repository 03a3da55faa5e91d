/** Topic aliases of one connection of a simulated client, both ways. Knows no packets. */
import { BrokenPromise } from "./checkers.ts";
import { ALIASES, type Profile } from "./client_profile.ts";

export class SimAliases {
  readonly #profile: Profile;
  /** Topic name → alias, and alias → topic name. */
  readonly #out = new Map<string, number>();
  readonly #in = new Map<number, string>();
  /** How many the gateway takes. */
  outgoingMax = 0;

  constructor(profile: Profile) {
    this.#profile = profile;
  }

  clear(): void {
    this.#out.clear();
    this.#in.clear();
  }

  /** The alias to send, and whether it stands for the name already. When they are used up, names go without. */
  outgoing(topicName: string): { readonly number: number; readonly isKnown: boolean } | undefined {
    const known = this.#out.get(topicName);
    if (known !== undefined) return { number: known, isKnown: true };
    if (!this.#profile.hasAliases || this.#out.size >= Math.min(ALIASES, this.outgoingMax)) return undefined;
    const number = this.#out.size + 1;
    this.#out.set(topicName, number);
    return { number, isKnown: false };
  }

  /** The topic name of a PUBLISH that came. */
  incoming(topicName: string, alias: number | undefined): string {
    if (alias === undefined) return topicName;
    if (topicName !== "") this.#in.set(alias, topicName);
    const known = this.#in.get(alias);
    if (alias > ALIASES || known === undefined) throw new BrokenPromise(`An alias stands for a topic name: ${alias}`);
    return known;
  }
}
