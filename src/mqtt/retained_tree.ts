/**
 * Topic names with a value each (retained messages), found by name and by filter. A tree by level in which a name hangs at
 * the first level that tells it from the others, so that a million names cost about a million leaves and few nodes.
 * Knows nothing of messages.
 */
import { levelEnd, LevelNode, ownedLevel } from "./level_node.ts";
import { topicMatches } from "./topics.ts";

class Leaf<T> {
  readonly topicName: string;
  value: T;

  constructor(topicName: string, value: T) {
    this.topicName = topicName;
    this.value = value;
  }
}

class NameNode<T> extends LevelNode<NameNode<T> | Leaf<T>> {
  /** The name that ends at this node. */
  here: Leaf<T> | undefined;
}

type Child<T> = NameNode<T> | Leaf<T>;

/** A map from topic names to values that can be asked with a filter. Names and filters must be valid (topics.ts). */
export class TopicNameTree<T> {
  readonly #root = new NameNode<T>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(topicName: string): T | undefined {
    let node = this.#root;
    for (let start = 0; start <= topicName.length;) {
      const end = levelEnd(topicName, start);
      const child = node.getChild(topicName.slice(start, end));
      if (child === undefined) return undefined;
      if (child instanceof Leaf) return child.topicName === topicName ? child.value : undefined;
      node = child;
      start = end + 1;
    }
    return node.here?.value;
  }

  /** Adds the name or replaces its value. */
  set(topicName: string, value: T): void {
    let node = this.#root;
    for (let start = 0; start <= topicName.length;) {
      const end = levelEnd(topicName, start);
      const level = topicName.slice(start, end);
      let child = node.getChild(level);
      if (child === undefined) {
        node.setChild(ownedLevel(topicName, start, end), new Leaf(topicName, value));
        this.#size++;
        return;
      }
      if (child instanceof Leaf) {
        if (child.topicName === topicName) {
          child.value = value;
          return;
        }
        child = branchOf(child, end);
        node.setChild(level, child);
      }
      node = child;
      start = end + 1;
    }
    if (node.here === undefined) {
      node.here = new Leaf(topicName, value);
      this.#size++;
    } else {
      node.here.value = value;
    }
  }

  /** False if the name is not there. */
  delete(topicName: string): boolean {
    const path: { readonly node: NameNode<T>; readonly level: string }[] = [];
    let node = this.#root;
    let leaf: Leaf<T> | undefined;
    for (let start = 0; start <= topicName.length && leaf === undefined;) {
      const end = levelEnd(topicName, start);
      const level = topicName.slice(start, end);
      const child = node.getChild(level);
      if (child === undefined) return false;
      if (child instanceof Leaf) {
        if (child.topicName !== topicName) return false;
        leaf = child;
        node.deleteChild(level);
      } else {
        path.push({ node, level });
        node = child;
        start = end + 1;
      }
    }
    if (leaf === undefined) {
      if (node.here === undefined) return false;
      node.here = undefined;
    }
    this.#size--;
    for (let step = path.pop(); step !== undefined; step = path.pop()) {
      const rest = withoutNeed(node);
      if (rest === node) break;
      if (rest === undefined) step.node.deleteChild(step.level);
      else step.node.setChild(step.level, rest);
      node = step.node;
    }
    return true;
  }

  /**
   * The names the filter matches, with their values, in no particular order, walking only branches that can match. The
   * tree may change between two steps: a name that stays throughout comes exactly once; one that is added or
   * deleted meanwhile may or may not come.
   */
  *matching(topicFilter: string): Generator<[topicName: string, value: T], void, undefined> {
    const levels = topicFilter.split("/");
    const stack: Walk<T>[] = [];
    let leaf = enter(this.#root, { levels, depth: 0, stack });
    for (;;) {
      // Leaves hang above their last level, so the whole name is compared (the common levels again, which is cheap).
      if (leaf !== undefined && topicMatches(topicFilter, leaf.topicName)) yield [leaf.topicName, leaf.value];
      leaf = undefined;
      const walk = stack.at(-1);
      if (walk === undefined) return;
      const step = walk.children.next();
      if (step.done === true) stack.pop();
      else if (step.value instanceof Leaf) leaf = step.value;
      else leaf = enter(step.value, { levels, depth: walk.depth + 1, stack });
    }
  }

  /** All names with their values. */
  *entries(): Generator<[topicName: string, value: T], void, undefined> {
    yield* this.matching("#");
    for (const [level] of this.#root.entries()) {
      if (level.startsWith("$")) yield* this.matching(`${level}/#`);
    }
  }
}

/** Children still to visit of a node that lies `depth` levels deep. */
interface Walk<T> {
  readonly children: Iterator<Child<T>>;
  readonly depth: number;
}

interface Position<T> {
  readonly levels: readonly string[];
  readonly depth: number;
  readonly stack: Walk<T>[];
}

/** Puts the node's children that may match on the stack; returns the leaf at the node itself if it may match. */
function enter<T>(node: NameNode<T>, { levels, depth, stack }: Position<T>): Leaf<T> | undefined {
  // Below a # every level is one.
  const level = depth >= levels.length && levels.at(-1) === "#" ? "#" : levels[depth];
  if (level === undefined) return node.here;
  if (level === "+" || level === "#") {
    stack.push({ children: depth === 0 ? visibleChildren(node) : node.children(), depth });
    return level === "#" ? node.here : undefined;
  }
  const child = node.getChild(level);
  if (child !== undefined) stack.push({ children: [child].values(), depth });
  return undefined;
}

/** The children a leading wildcard sees: not those that start with $ [MQTT3-4.7.2-1] [MQTT5-4.7.2-1]. */
function* visibleChildren<T>(root: NameNode<T>): Generator<Child<T>, void, undefined> {
  for (const [level, child] of root.entries()) {
    if (!level.startsWith("$")) yield child;
  }
}

/** A node in the leaf's place that holds the leaf one level further down; `end` is where the leaf's level ends. */
function branchOf<T>(leaf: Leaf<T>, end: number): NameNode<T> {
  const node = new NameNode<T>();
  if (leaf.topicName.length === end) node.here = leaf;
  else node.setChild(ownedLevel(leaf.topicName, end + 1, levelEnd(leaf.topicName, end + 1)), leaf);
  return node;
}

/** What a node can be replaced with: nothing if it is empty, its leaf if it has only that, else the node itself. */
function withoutNeed<T>(node: NameNode<T>): Child<T> | undefined {
  if (node.here !== undefined) return node.childCount === 0 ? node.here : node;
  if (node.childCount === 0) return undefined;
  const only = node.onlyChild;
  return only instanceof Leaf ? only : node;
}
