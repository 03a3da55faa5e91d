/**
 * Which entries (subscriptions) match a topic name. Filters without a wildcard lie in one Map; the others in a tree by
 * level, walked with a list of the nodes reached so far instead of recursion. Results are cached per name and revalidated
 * against the few filters that changed since. Knows nothing of sessions, shared groups or access.
 */
import { levelEnd, LevelNode, ownedLevel } from "./level_node.ts";
import { hasWildcard, topicMatches } from "./topics.ts";

/**
 * Entries of one filter: an array while few, never changed but replaced, so that it can be the result of every name that
 * only this filter matches; beyond, a Set, so that 100,000 subscribers of one filter can leave.
 */
type Bucket<T> = readonly T[] | ManyEntries<T>;

const BUCKET_ARRAY_MAX = 16;

class ManyEntries<T> {
  readonly #entries: Set<T>;
  /** For the names matched until the next change. */
  #list: readonly T[] | undefined;

  constructor(entries: readonly T[]) {
    this.#entries = new Set(entries);
  }

  get list(): readonly T[] {
    this.#list ??= [...this.#entries];
    return this.#list;
  }

  get size(): number {
    return this.#entries.size;
  }

  add(entry: T): boolean {
    if (this.#entries.has(entry)) return false;
    this.#entries.add(entry);
    this.#list = undefined;
    return true;
  }

  delete(entry: T): boolean {
    if (!this.#entries.delete(entry)) return false;
    this.#list = undefined;
    return true;
  }
}

/** A cached result that missed at most this many changes is checked against their filters instead of built again. */
const JOURNAL_CHANGES = 64;

/** Weight a cache generation may hold: characters of names plus entries of results (about 8 bytes each). */
const CACHE_WEIGHT_MAX = 1_000_000;
/** Weight of a cached result besides its name and entries. */
const CACHED_WEIGHT = 16;

const NOTHING: readonly never[] = Object.freeze([]);

class FilterNode<T> extends LevelNode<FilterNode<T>> {
  plus: FilterNode<T> | undefined;
  /** Entries of the filter that ends at this node. */
  here: Bucket<T> | undefined;
  /** Entries of the filter that is this node's path and `/#`. */
  below: Bucket<T> | undefined;

  get isEmpty(): boolean {
    return this.childCount === 0 && this.plus === undefined && this.here === undefined && this.below === undefined;
  }
}

interface CachedMatch<T> {
  version: number;
  entries: readonly T[];
}

/**
 * A set of (topic filter, entry) pairs, matched against topic names. Filters must be valid and not shared ones
 * (`topicFilterError`, `parseSharedFilter`). Entries are compared by identity.
 */
export class FilterTree<T> {
  readonly #exact = new Map<string, Bucket<T>>();
  readonly #root = new FilterNode<T>();
  #filterCount = 0;
  #size = 0;

  /** Counts changes; `#journal[version % JOURNAL_CHANGES]` is the filter whose change led to `version`. */
  #version = 0;
  readonly #journal: string[] = [];
  /** Two generations stand in for least-recently-used: what is still in use moves from old to young. */
  #young = new Map<string, CachedMatch<T>>();
  #old = new Map<string, CachedMatch<T>>();
  #youngWeight = 0;
  /** Nodes reached while matching, kept from name to name: a new array for each level is most of what a match costs. */
  readonly #frontier: FilterNode<T>[] = [];
  readonly #next: FilterNode<T>[] = [];

  /** How many pairs there are. */
  get size(): number {
    return this.#size;
  }

  /** How many different filters there are. */
  get filterCount(): number {
    return this.#filterCount;
  }

  /** Grows by one with every change; a result of `match` holds at least as long as this number. */
  get version(): number {
    return this.#version;
  }

  /** Adds the pair; false if it is there already. */
  add(topicFilter: string, entry: T): boolean {
    let before: Bucket<T> | undefined;
    if (hasWildcard(topicFilter)) {
      const { node, below } = this.#reach(topicFilter);
      before = below ? node.below : node.here;
      const after = withEntry(before, entry);
      if (after === undefined) return false;
      if (below) node.below = after;
      else node.here = after;
    } else {
      before = this.#exact.get(topicFilter);
      const after = withEntry(before, entry);
      if (after === undefined) return false;
      if (after !== before) this.#exact.set(topicFilter, after);
    }
    if (before === undefined) this.#filterCount++;
    this.#size++;
    this.#changed(topicFilter);
    return true;
  }

  /** Removes the pair; false if it is not there. */
  remove(topicFilter: string, entry: T): boolean {
    const removed = hasWildcard(topicFilter)
      ? this.#removeFromTree(topicFilter, entry)
      : this.#removeExact(topicFilter, entry);
    if (!removed) return false;
    this.#size--;
    this.#changed(topicFilter);
    return true;
  }

  /**
   * The entries of all filters that match the name, once per matching filter. The order is not specified, but the same
   * for the same calls. The array is never changed afterwards; it must not be changed by the caller. Names that one and
   * the same filter matches, and no other, have the same array.
   */
  match(topicName: string): readonly T[] {
    let cached = this.#young.get(topicName);
    if (cached === undefined) {
      cached = this.#old.get(topicName);
      if (cached !== undefined) {
        this.#old.delete(topicName);
        this.#remember(topicName, cached);
      }
    }
    if (cached === undefined) {
      const entries = this.#collect(topicName);
      this.#remember(topicName, { version: this.#version, entries });
      return entries;
    }
    if (cached.version !== this.#version) {
      if (!this.#isUnaffected(topicName, cached.version)) {
        this.#youngWeight -= cached.entries.length;
        cached.entries = this.#collect(topicName);
        this.#youngWeight += cached.entries.length;
      }
      cached.version = this.#version;
    }
    return cached.entries;
  }

  #changed(topicFilter: string): void {
    this.#version++;
    this.#journal[this.#version % JOURNAL_CHANGES] = topicFilter;
  }

  /** Whether none of the filters changed since `version` matches the name. */
  #isUnaffected(topicName: string, version: number): boolean {
    if (this.#version - version > JOURNAL_CHANGES) return false;
    for (let change = version + 1; change <= this.#version; change++) {
      const topicFilter = this.#journal[change % JOURNAL_CHANGES];
      if (topicFilter === undefined || topicMatches(topicFilter, topicName)) return false;
    }
    return true;
  }

  #remember(topicName: string, cached: CachedMatch<T>): void {
    const weight = CACHED_WEIGHT + topicName.length + cached.entries.length;
    if (this.#youngWeight + weight > CACHE_WEIGHT_MAX) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#youngWeight = 0;
    }
    this.#young.set(topicName, cached);
    this.#youngWeight += weight;
  }

  #collect(topicName: string): readonly T[] {
    const found: (readonly T[])[] = [];
    append(found, this.#exact.get(topicName)); // [MQTT3-4.7.3-4] [MQTT5-4.7.3-4]
    let frontier = this.#frontier;
    let next = this.#next;
    let reached = 1;
    frontier[0] = this.#root;
    // [MQTT3-4.7.2-1] [MQTT5-4.7.2-1]: a leading wildcard does not see names that start with $.
    let wildcards = !topicName.startsWith("$");
    for (let start = 0; start <= topicName.length && reached > 0;) {
      const end = levelEnd(topicName, start);
      const level = topicName.slice(start, end);
      let nextReached = 0;
      for (let index = 0; index < reached; index++) {
        const node = frontier[index];
        if (node === undefined) continue;
        if (wildcards) {
          append(found, node.below);
          if (node.plus !== undefined) next[nextReached++] = node.plus;
        }
        const child = node.getChild(level);
        if (child !== undefined) next[nextReached++] = child;
      }
      wildcards = true;
      [frontier, next] = [next, frontier];
      reached = nextReached;
      start = end + 1;
    }
    for (let index = 0; index < reached; index++) {
      append(found, frontier[index]?.here);
      append(found, frontier[index]?.below); // "sport/#" matches "sport" too.
    }
    return found.length > 1 ? found.flat() : found[0] ?? NOTHING;
  }

  /** The node of the filter's path, created where missing; `below` if the filter ends with #. */
  #reach(topicFilter: string): { node: FilterNode<T>; below: boolean } {
    let node = this.#root;
    for (let start = 0; start <= topicFilter.length;) {
      const end = levelEnd(topicFilter, start);
      if (isLevel(topicFilter, start, end, "#")) return { node, below: true };
      if (isLevel(topicFilter, start, end, "+")) {
        node.plus ??= new FilterNode<T>();
        node = node.plus;
      } else {
        let child = node.getChild(topicFilter.slice(start, end));
        if (child === undefined) {
          child = new FilterNode<T>();
          node.setChild(ownedLevel(topicFilter, start, end), child);
        }
        node = child;
      }
      start = end + 1;
    }
    return { node, below: false };
  }

  #removeExact(topicFilter: string, entry: T): boolean {
    const before = this.#exact.get(topicFilter);
    const after = withoutEntry(before, entry);
    if (after === undefined) return false;
    if (entryCount(after) > 0) {
      if (after !== before) this.#exact.set(topicFilter, after);
    } else {
      this.#exact.delete(topicFilter);
      this.#filterCount--;
    }
    return true;
  }

  #removeFromTree(topicFilter: string, entry: T): boolean {
    const path: { readonly node: FilterNode<T>; readonly level: string }[] = [];
    let node = this.#root;
    let below = false;
    for (let start = 0; start <= topicFilter.length;) {
      const end = levelEnd(topicFilter, start);
      const level = topicFilter.slice(start, end);
      below = level === "#";
      if (below) break;
      const child = level === "+" ? node.plus : node.getChild(level);
      if (child === undefined) return false;
      path.push({ node, level });
      node = child;
      start = end + 1;
    }
    const after = withoutEntry(below ? node.below : node.here, entry);
    if (after === undefined) return false;
    const kept = entryCount(after) > 0 ? after : undefined;
    if (below) node.below = kept;
    else node.here = kept;
    if (kept !== undefined) return true;
    this.#filterCount--;
    for (let step = path.pop(); step !== undefined && node.isEmpty; step = path.pop()) {
      if (step.level === "+") step.node.plus = undefined;
      else step.node.deleteChild(step.level);
      node = step.node;
    }
    return true;
  }
}

function isLevel(topicFilter: string, start: number, end: number, wildcard: "+" | "#"): boolean {
  return end - start === 1 && topicFilter[start] === wildcard;
}

/** The bucket with the entry added, undefined if it held it already. */
function withEntry<T>(bucket: Bucket<T> | undefined, entry: T): Bucket<T> | undefined {
  if (bucket === undefined) return [entry];
  if (bucket instanceof ManyEntries) return bucket.add(entry) ? bucket : undefined;
  if (bucket.includes(entry)) return undefined;
  const after = [...bucket, entry];
  return after.length > BUCKET_ARRAY_MAX ? new ManyEntries(after) : after;
}

/** The bucket without the entry, undefined if it did not hold it. */
function withoutEntry<T>(bucket: Bucket<T> | undefined, entry: T): Bucket<T> | undefined {
  if (bucket === undefined) return undefined;
  if (bucket instanceof ManyEntries) return bucket.delete(entry) ? bucket : undefined;
  return bucket.includes(entry) ? bucket.filter((other) => other !== entry) : undefined;
}

function entryCount<T>(bucket: Bucket<T>): number {
  return bucket instanceof ManyEntries ? bucket.size : bucket.length;
}

function append<T>(found: (readonly T[])[], bucket: Bucket<T> | undefined): void {
  if (bucket !== undefined) found.push(bucket instanceof ManyEntries ? bucket.list : bucket);
}
