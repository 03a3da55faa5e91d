/**
 * SASLprep (RFC 4013): one form for user names and passwords that look alike, and no invisible characters in them. Normalises
 * with the Unicode version of the runtime, where the RFC has 3.2: characters that came later are taken, not refused.
 */

const PRINTABLE_ASCII = /^[ -~]*$/;

/** Mapped to a blank (RFC 3454 C.1.2), then to nothing (B.1). */
const SPACES = /[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/g;
// oxlint-disable-next-line eslint/no-misleading-character-class -- single characters, as the table lists them
const NOTHINGS = /[\u00ad\u034f\u1806\u180b-\u180d\u200c\u200d\u2060\ufe00-\ufe0f\ufeff]/g;

/**
 * Prohibited: control characters (C.2), private use (C.3), noncharacters and what is unassigned (C.4, A.1: both are Cn),
 * surrogates (C.5), unsuitable for plain text (C.6), descriptions (C.7), display properties (C.8), tags (C.9).
 */
const PROHIBITED =
  /[\u0340\u0341\p{Cc}\p{Co}\p{Cn}\p{Cs}\u06dd\u070f\u180e\u200e\u200f\u2028-\u202e\u2060-\u2063\u206a-\u206f\ufff9-\ufffd\u2ff0-\u2ffb\u{1d173}-\u{1d17a}\u{e0001}\u{e0020}-\u{e007f}]/u;

/** Written from right to left (RFC 3454 D.1). */
const RIGHT_TO_LEFT =
  /[\u05be\u05c0\u05c3\u05d0-\u05ea\u05f0-\u05f4\u061b\u061f\u0621-\u063a\u0640-\u064a\u066d-\u066f\u0671-\u06d5\u06dd\u06e5\u06e6\u06fa-\u06fe\u0700-\u070d\u0710\u0712-\u072c\u0780-\u07a5\u07b1\u200f\ufb1d\ufb1f-\ufb28\ufb2a-\ufb36\ufb38-\ufb3c\ufb3e\ufb40\ufb41\ufb43\ufb44\ufb46-\ufbb1\ufbd3-\ufd3d\ufd50-\ufd8f\ufd92-\ufdc7\ufdf0-\ufdfc\ufe70-\ufe74\ufe76-\ufefc]/u;

/** Letters and their marks. Of these, what is not written from right to left is written from left to right (close to D.2). */
const LETTER = /[\p{L}\p{Mc}\p{Nl}]/u;

/** The prepared text, or undefined where a character is prohibited or the directions of writing are mixed. */
export function saslPrep(text: string): string | undefined {
  if (PRINTABLE_ASCII.test(text)) return text;
  const prepared = text.replace(SPACES, " ").replace(NOTHINGS, "").normalize("NFKC");
  return PROHIBITED.test(prepared) || mixesDirections(prepared) ? undefined : prepared;
}

/** RFC 3454 §6: a text with a right-to-left character has no other letters, and one of them at either end. */
function mixesDirections(text: string): boolean {
  if (!RIGHT_TO_LEFT.test(text)) return false;
  const characters = Array.from(text);
  if (characters.some((character) => LETTER.test(character) && !RIGHT_TO_LEFT.test(character))) return true;
  return !RIGHT_TO_LEFT.test(characters.at(0) ?? "") || !RIGHT_TO_LEFT.test(characters.at(-1) ?? "");
}
