/** What happened in a run: the last lines for people, a hash of all of them to compare runs and runtimes. */

const KEPT_LINES = 4_000;

export class Trace {
  #hash = 0x811c9dc5;
  #lines: string[] = [];
  count = 0;

  add(line: string): void {
    this.count++;
    // FNV-1a, 32 bits: enough to notice a difference.
    for (let index = 0; index < line.length; index++) {
      this.#hash = Math.imul(this.#hash ^ line.charCodeAt(index), 0x01000193);
    }
    this.#lines.push(line);
    if (this.#lines.length > 2 * KEPT_LINES) this.#lines = this.#lines.slice(-KEPT_LINES);
  }

  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, "0");
  }

  end(lines: number): readonly string[] {
    return this.#lines.slice(-lines);
  }
}
