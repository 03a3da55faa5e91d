/**
 * A node of a tree whose edges are topic levels. Most nodes of such a tree have exactly one child, so the first child lies
 * in the node itself and only a second one brings a Map. Knows nothing of wildcards.
 */

/** A level is copied out of a name longer than this: a substring would keep the whole name alive. */
const SHARED_NAME_LENGTH_MAX = 256;

/** Base of tree nodes; `Child` is what a level leads to. Levels may be empty strings. */
export class LevelNode<Child> {
  #onlyLevel: string | undefined;
  #onlyChild: Child | undefined;
  #children: Map<string, Child> | undefined;

  get childCount(): number {
    if (this.#children !== undefined) return this.#children.size;
    return this.#onlyLevel === undefined ? 0 : 1;
  }

  getChild(level: string): Child | undefined {
    if (this.#children !== undefined) return this.#children.get(level);
    return this.#onlyLevel === level ? this.#onlyChild : undefined;
  }

  /** Adds or replaces; a replaced child keeps its place in the order of `children`. */
  setChild(level: string, child: Child): void {
    if (this.#children !== undefined) {
      this.#children.set(level, child);
    } else if (this.#onlyLevel === undefined || this.#onlyLevel === level) {
      this.#onlyLevel = level;
      this.#onlyChild = child;
    } else {
      this.#children = new Map();
      if (this.#onlyChild !== undefined) this.#children.set(this.#onlyLevel, this.#onlyChild);
      this.#children.set(level, child);
      this.#onlyLevel = undefined;
      this.#onlyChild = undefined;
    }
  }

  /** The Map stays once it is there: it goes with the node, and a live iterator stays valid. */
  deleteChild(level: string): void {
    if (this.#children !== undefined) {
      this.#children.delete(level);
    } else if (this.#onlyLevel === level) {
      this.#onlyLevel = undefined;
      this.#onlyChild = undefined;
    }
  }

  /** The one child of a node that has exactly one. */
  get onlyChild(): Child | undefined {
    if (this.#children === undefined) return this.#onlyChild;
    if (this.#children.size !== 1) return undefined;
    for (const child of this.#children.values()) return child;
    return undefined;
  }

  /** The children in order of their addition; the tree may change meanwhile. */
  children(): IterableIterator<Child> {
    if (this.#children !== undefined) return this.#children.values();
    return (this.#onlyChild === undefined ? [] : [this.#onlyChild]).values();
  }

  /** As `children`, with their levels. */
  entries(): IterableIterator<[string, Child]> {
    if (this.#children !== undefined) return this.#children.entries();
    const entries: [string, Child][] = [];
    if (this.#onlyLevel !== undefined && this.#onlyChild !== undefined) {
      entries.push([this.#onlyLevel, this.#onlyChild]);
    }
    return entries.values();
  }
}

/** Where the level that begins at `start` ends. */
export function levelEnd(topic: string, start: number): number {
  const slash = topic.indexOf("/", start);
  return slash < 0 ? topic.length : slash;
}

/** The level as a key to keep, which does not keep a long topic alive. */
export function ownedLevel(topic: string, start: number, end: number): string {
  const level = topic.slice(start, end);
  if (topic.length <= SHARED_NAME_LENGTH_MAX || end - start > topic.length / 2) return level;
  return ` ${level}`.slice(1);
}
