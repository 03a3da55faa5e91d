/** Reading a secret from whoever started the program: typed without echo, or piped in. */

import process from "node:process";
import { LIMITS } from "../../src/limits.ts";

const enter = /[\r\n]/;
const interrupt = "\u0003";
const backspaces: ReadonlySet<string> = new Set(["\u0008", "\u007f"]);

/** The first line of what is piped in, without its end. */
async function readPipedLine(): Promise<string> {
  let text = "";
  process.stdin.setEncoding("utf8");
  for await (const chunk of process.stdin) {
    text += String(chunk);
    if (enter.test(text) || text.length > LIMITS.secretCharactersMax) break;
  }
  return text.split(enter, 1)[0] ?? "";
}

/** What has been typed after one more piece of input, and whether the line is complete. */
export function typed(line: string, input: string): { readonly line: string; readonly isComplete: boolean } {
  let next = line;
  for (const character of input) {
    if (enter.test(character)) return { line: next, isComplete: true };
    if (backspaces.has(character)) next = next.replace(/.$/u, "");
    else if (character >= " ") next += character;
  }
  return { line: next, isComplete: next.length > LIMITS.secretCharactersMax };
}

function readTypedLine(prompt: string): Promise<string> {
  const { stdin, stderr } = process;
  stderr.write(prompt); // not stdout: that is what the caller redirects into a file
  stdin.setRawMode(true);
  stdin.setEncoding("utf8");
  stdin.resume();
  return new Promise((resolve) => {
    let line = "";
    const read = (input: string): void => {
      const result = typed(line, input);
      line = result.line;
      const isInterrupted = input.includes(interrupt);
      if (!result.isComplete && !isInterrupted) return;
      stdin.off("data", read);
      stdin.setRawMode(false);
      stdin.pause();
      stderr.write("\n");
      // In raw mode the terminal does not turn Ctrl-C into a signal.
      if (isInterrupted) process.exit(130);
      resolve(line);
    };
    stdin.on("data", read);
  });
}

/** One line from the terminal without echo, or the first line of what is piped in. */
export function readSecret(prompt: string): Promise<string> {
  return process.stdin.isTTY ? readTypedLine(prompt) : readPipedLine();
}
