/** Makes text of unknown origin safe to print: nothing in a client identifier may forge a line or steer a terminal. */

/** Control characters, line and paragraph separators, and what reverses the direction of text. */
const HIDDEN = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069\p{Cs}]/gu;

/** At most `charactersMax` characters of the text; hidden ones as `\n`, `\r`, `\t` or `\u001b`. */
export function printable(text: string, charactersMax: number): string {
  const kept = text.length > charactersMax ? `${text.slice(0, charactersMax)}…` : text;
  return kept.replace(HIDDEN, escape);
}

function escape(character: string): string {
  if (character === "\n") return "\\n";
  if (character === "\r") return "\\r";
  if (character === "\t") return "\\t";
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
