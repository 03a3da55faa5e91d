/**
 * Which entries (subscriptions) match a topic name. Filters without a wildcard lie in one Map; the others in a tree by
 * level, walked with a list of the nodes reached so far instead of recursion. Results are cached per name and revalidated
 * against the few filters that changed since. Knows nothing of sessions, shared groups or access.
 */
import { levelEnd, LevelNode, ownedLevel } from "./level_node.ts";
import { hasWildcard, topicMatches } from "./topics.ts";

/** Entries of one filter: an array while small, a Set beyond, so that 100,000 subscribers of one filter can leave. */
type Bucket<T> = T[] | Set<T>;

const BUCKET_ARRAY_MAX = 16;

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
   * for the same calls. The array is never changed afterwards; it must not be changed by the caller.
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
    const found: T[] = [];
    append(found, this.#exact.get(topicName)); // [MQTT3-4.7.3-4] [MQTT5-4.7.3-4]
    let frontier: FilterNode<T>[] = [this.#root];
    // [MQTT3-4.7.2-1] [MQTT5-4.7.2-1]: a leading wildcard does not see names that start with $.
    let wildcards = !topicName.startsWith("$");
    for (let start = 0; start <= topicName.length && frontier.length > 0;) {
      const end = levelEnd(topicName, start);
      const level = topicName.slice(start, end);
      const next: FilterNode<T>[] = [];
      for (const node of frontier) {
        if (wildcards) {
          append(found, node.below);
          if (node.plus !== undefined) next.push(node.plus);
        }
        const child = node.getChild(level);
        if (child !== undefined) next.push(child);
      }
      wildcards = true;
      frontier = next;
      start = end + 1;
    }
    for (const node of frontier) {
      append(found, node.here);
      append(found, node.below); // "sport/#" matches "sport" too.
    }
    return found.length === 0 ? NOTHING : found;
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
    const bucket = this.#exact.get(topicFilter);
    if (bucket === undefined || !dropEntry(bucket, entry)) return false;
    if (entryCount(bucket) === 0) {
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
    const bucket = below ? node.below : node.here;
    if (bucket === undefined || !dropEntry(bucket, entry)) return false;
    if (entryCount(bucket) > 0) return true;
    this.#filterCount--;
    if (below) node.below = undefined;
    else node.here = undefined;
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
  if (bucket instanceof Set) {
    if (bucket.has(entry)) return undefined;
    bucket.add(entry);
    return bucket;
  }
  if (bucket.includes(entry)) return undefined;
  bucket.push(entry);
  return bucket.length > BUCKET_ARRAY_MAX ? new Set(bucket) : bucket;
}

function dropEntry<T>(bucket: Bucket<T>, entry: T): boolean {
  if (bucket instanceof Set) return bucket.delete(entry);
  const at = bucket.indexOf(entry);
  if (at < 0) return false;
  bucket.splice(at, 1);
  return true;
}

function entryCount<T>(bucket: Bucket<T>): number {
  return bucket instanceof Set ? bucket.size : bucket.length;
}

function append<T>(found: T[], bucket: Bucket<T> | undefined): void {
  if (bucket === undefined) return;
  for (const entry of bucket) found.push(entry);
}
