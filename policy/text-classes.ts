/** One text more than its parent; texts with a common beginning share the way to where they part. */
interface Branch {
  label: string;
  children: Map<number, Branch> | undefined;
  /** Class of the text that ends here and of no other; 0: none is asked for. */
  equals: number;
  /** Class of all texts that begin so; 0: none is asked for. */
  prefix: number;
}

function branch(label: string): Branch {
  return { label, children: undefined, equals: 0, prefix: 0 };
}

/**
 * The class of a text under tests for whole texts and beginnings: the text itself where it is asked for, else the longest
 * beginning that is, else 0. A radix tree, so that looking costs what the text is long, however many tests there are.
 */
export class TextClasses {
  readonly #root = branch("");

  /**
   * @param known  its class, above 0
   * @returns false: the text has one already, which stays
   */
  add(test: "equals" | "prefix", text: string, known: number): boolean {
    const node = this.#at(text);
    if (node[test] !== 0) return false;
    node[test] = known;
    return true;
  }

  /** The branch where a text ends, grown where it is not there. */
  #at(text: string): Branch {
    let node = this.#root;
    let at = 0;
    while (at < text.length) {
      node.children ??= new Map();
      const code = text.charCodeAt(at);
      const child = node.children.get(code);
      if (child === undefined) {
        const leaf = branch(text.slice(at));
        node.children.set(code, leaf);
        return leaf;
      }
      const common = commonLength(child.label, text, at);
      if (common < child.label.length) {
        const fork = branch(child.label.slice(0, common));
        fork.children = new Map([[child.label.charCodeAt(common), child]]);
        child.label = child.label.slice(common);
        node.children.set(code, fork);
        node = fork;
      } else node = child;
      at += common;
    }
    return node;
  }

  classOf(text: string): number {
    let node = this.#root;
    let longest = node.prefix;
    for (let at = 0; at < text.length; ) {
      const child = node.children?.get(text.charCodeAt(at));
      if (child === undefined || !text.startsWith(child.label, at)) return longest;
      at += child.label.length;
      node = child;
      if (node.prefix !== 0) longest = node.prefix;
    }
    return node.equals === 0 ? longest : node.equals;
  }

  /** As `classOf` of the ASCII text whose bytes these are. */
  classOfAscii(bytes: Uint8Array, from: number, to: number): number {
    let node = this.#root;
    let longest = node.prefix;
    for (let at = from; at < to; ) {
      const child = node.children?.get(bytes[at] ?? 0);
      if (child === undefined) return longest;
      const { label } = child;
      const { length } = label;
      if (length > to - at) return longest;
      for (let index = 1; index < length; index += 1) {
        if (bytes[at + index] !== label.charCodeAt(index)) return longest;
      }
      at += length;
      node = child;
      if (node.prefix !== 0) longest = node.prefix;
    }
    return node.equals === 0 ? longest : node.equals;
  }
}

function commonLength(label: string, text: string, from: number): number {
  let length = 0;
  while (length < label.length && label.charCodeAt(length) === text.charCodeAt(from + length)) length += 1;
  return length;
}
