import {
  type Alias,
  Composer,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  type ParsedNode,
  Parser,
  type YAMLMap,
  type YAMLSeq,
} from "yaml";
import type { ProblemCode } from "./problem-codes.ts";
import { scalarOffsets } from "./scalar-offset.ts";

/** Field names and list indices from the root of a document to a value. */
export type Path = readonly (string | number)[];

/** Lines and columns count from 1. */
export interface TextPosition {
  readonly line: number;
  readonly column: number;
}

export interface YamlProblem {
  readonly code: ProblemCode;
  readonly message: string;
  readonly hint?: string;
  readonly at: TextPosition;
}

/** One document as plain data (no prototype tricks, aliases followed) that still knows where everything stands. */
export interface YamlDocument {
  readonly value: unknown;
  /** Where the value at `path` begins; of what is not there, the key of the nearest thing above it that is. */
  at(path: Path): TextPosition;
  /** Where the key of the value at `path` begins. */
  keyAt(path: Path): TextPosition;
  /** Where the character `offset` of the string at `path` stands. */
  within(path: Path, offset: number): TextPosition;
}

export interface YamlFile {
  readonly documents: readonly YamlDocument[];
  readonly problems: readonly YamlProblem[];
}

export const YAML_LIMITS = { documents: 1_000, depth: 64, nodes: 200_000, problems: 100 } as const;

/** What the library, which recurses, reports in the engine's words where nesting ends on its stack. */
const STACK_OVERFLOW = /call stack/;

const CORE_TAG = /^tag:yaml\.org,2002:(str|int|float|bool|null|map|seq)$/;

/**
 * Parses a file of YAML 1.2 (core schema). Never throws: what is wrong is in `problems`, and documents without errors
 * are there all the same. Empty documents are left out.
 */
export function parseYaml(text: string): YamlFile {
  const source = text.startsWith("\uFEFF") ? text.slice(1) : text;
  const lines = new LineCounter();
  const documents: YamlDocument[] = [];
  const problems: YamlProblem[] = [];
  const report = (code: ProblemCode, message: string, offset: number, hint?: string): void => {
    if (problems.length >= YAML_LIMITS.problems) return;
    problems.push({ code, message, at: position(lines, offset), ...(hint === undefined ? {} : { hint }) });
  };
  try {
    const parser = new Parser(lines.addNewLine);
    // Duplicate keys are looked for here, in linear time. Messages stay short: the library's would quote the text.
    const composer = new Composer({ version: "1.2", schema: "core", uniqueKeys: false, resolveKnownTags: false });
    let count = 0;
    for (const document of composer.compose(parser.parse(source))) {
      if (++count > YAML_LIMITS.documents) {
        report(
          "yaml-too-large",
          `more than ${YAML_LIMITS.documents} documents in one file`,
          document.range[0],
          "make it several files",
        );
        break;
      }
      const read = readDocument(document, source, lines, report);
      if (read !== undefined) documents.push(read);
    }
    if (count === 0)
      for (const error of composer.streamInfo().errors) report("yaml-syntax", error.message, error.pos[0]);
  } catch (error) {
    // The library recurses: what is nested by the thousand ends on its stack.
    const message = error instanceof RangeError ? "nested too deep" : "cannot be parsed";
    report("yaml-syntax", message, 0);
  }
  return { documents, problems };
}

type Report = (code: ProblemCode, message: string, offset: number, hint?: string) => void;

function readDocument(
  document: Document.Parsed<ParsedNode>,
  source: string,
  lines: LineCounter,
  report: Report,
): YamlDocument | undefined {
  if (document.directives.yaml.version !== "1.2") {
    report("yaml-syntax", "only YAML 1.2 is read", document.range[0], "remove the %YAML directive");
    return undefined;
  }
  for (const error of document.errors) {
    const tab = error.code === "TAB_AS_INDENT" ? "indent with spaces" : undefined;
    const message = STACK_OVERFLOW.test(error.message) ? "nested too deep" : firstLine(error.message);
    report("yaml-syntax", message, error.pos[0], tab);
  }
  if (document.errors.length > 0) return undefined;
  const reading = new Reading(report);
  const value = reading.value(document.contents, 0);
  if (reading.failed || value === null) return undefined;
  return new LocatedDocument(value, document.contents, reading.aliases, source, lines);
}

function firstLine(message: string): string {
  return message.split("\n", 1)[0] ?? message;
}

/** Nodes to plain data, within bounds. */
class Reading {
  /** What each alias stands for. */
  readonly aliases = new Map<Alias, ParsedNode>();
  failed = false;
  readonly #report: Report;
  readonly #anchors = new Map<string, ParsedNode>();
  readonly #open = new Set<ParsedNode>();
  #nodes = 0;

  constructor(report: Report) {
    this.#report = report;
  }

  #fail(code: ProblemCode, message: string, offset: number, hint?: string): undefined {
    this.#report(code, message, offset, hint);
    this.failed = true;
    return undefined;
  }

  value(node: ParsedNode | null, depth: number): unknown {
    if (node === null) return null;
    if (depth > YAML_LIMITS.depth) return this.#fail("yaml-too-large", "nested too deep", node.range[0]);
    // One complaint is enough: with aliases the number of nodes is exponential in the size of the file.
    if (++this.#nodes > YAML_LIMITS.nodes) {
      if (this.#nodes > YAML_LIMITS.nodes + 1) return undefined;
      return this.#fail("yaml-too-large", "too much content once aliases are followed", node.range[0]);
    }
    if (isAlias(node)) return this.#alias(node, depth);
    if (node.tag !== undefined && !CORE_TAG.test(node.tag)) {
      return this.#fail("yaml-tag", "tags are not supported", node.range[0], "remove the tag before this value");
    }
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, node);
    if (isScalar(node)) return this.#scalar(node.value, node.range[0]);
    this.#open.add(node);
    const value = isMap(node) ? this.#map(node, depth) : this.#list(node, depth);
    this.#open.delete(node);
    return value;
  }

  #scalar(value: unknown, offset: number): unknown {
    if (typeof value !== "string" || value.isWellFormed()) return value;
    return this.#fail("yaml-syntax", "half of a surrogate pair is no character", offset, "write the character itself");
  }

  #alias(node: Alias.Parsed, depth: number): unknown {
    const target = this.#anchors.get(node.source);
    if (target === undefined) return this.#fail("yaml-alias", "this alias names no anchor before it", node.range[0]);
    if (this.#open.has(target))
      return this.#fail("yaml-alias", "this alias stands inside its own anchor", node.range[0]);
    this.aliases.set(node, target);
    return this.value(target, depth + 1);
  }

  #list(node: YAMLSeq.Parsed | ParsedNode, depth: number): unknown[] {
    return isSeq(node) ? node.items.map((item) => this.value(item as ParsedNode | null, depth + 1)) : [];
  }

  #map(node: YAMLMap.Parsed, depth: number): Record<string, unknown> {
    const entries: [string, unknown][] = [];
    const seen = new Set<string>();
    for (const pair of node.items as Pair<ParsedNode, ParsedNode | null>[]) {
      const key = isScalar(pair.key) ? pair.key.value : undefined;
      const offset = pair.key?.range?.[0] ?? node.range[0];
      if (typeof key !== "string") {
        this.#fail("yaml-syntax", "a key must be a string", offset, "write it in quotes");
      } else if (seen.has(key)) {
        this.#fail("yaml-duplicate-key", `the key "${shorten(key)}" stands twice in this mapping`, offset, "keep one");
      } else if (key === "__proto__") {
        this.#fail("unknown-field", 'unknown field "__proto__"', offset);
      } else if (key === "<<") {
        this.#fail("yaml-syntax", "merge keys are not part of YAML 1.2", offset, "write the fields out");
      } else {
        seen.add(key);
        entries.push([key, this.value(pair.value, depth + 1)]);
      }
    }
    return Object.fromEntries(entries);
  }
}

function shorten(text: string): string {
  return text.length > 64 ? `${text.slice(0, 63)}…` : text;
}

interface Found {
  /** The deepest node on the path that exists, and how much of the path leads to it. */
  readonly node: ParsedNode | null;
  readonly key: ParsedNode | undefined;
  readonly depth: number;
}

class LocatedDocument implements YamlDocument {
  readonly value: unknown;
  readonly #root: ParsedNode | null;
  readonly #aliases: ReadonlyMap<Alias, ParsedNode>;
  readonly #source: string;
  readonly #lines: LineCounter;

  constructor(
    value: unknown,
    root: ParsedNode | null,
    aliases: ReadonlyMap<Alias, ParsedNode>,
    source: string,
    lines: LineCounter,
  ) {
    this.value = value;
    this.#root = root;
    this.#aliases = aliases;
    this.#source = source;
    this.#lines = lines;
  }

  at(path: Path): TextPosition {
    const { node, key, depth } = this.#find(path);
    // An empty value (`spec:`) has no place of its own.
    const empty = node === null || (isScalar(node) && node.range[0] === node.range[1]);
    const shown = key !== undefined && (empty || depth < path.length) ? key : node;
    return position(this.#lines, shown?.range[0] ?? this.#root?.range[0] ?? 0);
  }

  keyAt(path: Path): TextPosition {
    const { node, key } = this.#find(path);
    return position(this.#lines, (key ?? node)?.range[0] ?? this.#root?.range[0] ?? 0);
  }

  within(path: Path, offset: number): TextPosition {
    const { node, depth } = this.#find(path);
    if (depth < path.length || !isScalar(node) || typeof node.value !== "string") return this.at(path);
    const [start, end] = node.range;
    const offsets = scalarOffsets(this.#source.slice(start, end), node.value);
    const index = Math.max(0, Math.min(Math.trunc(offset), offsets.length - 1));
    return position(this.#lines, start + (offsets[index] ?? 0));
  }

  #find(path: Path): Found {
    let node = this.#follow(this.#root);
    let key: ParsedNode | undefined;
    let depth = 0;
    for (const step of path) {
      if (isMap(node)) {
        const pairs = node.items as Pair<ParsedNode, ParsedNode | null>[];
        const pair = pairs.find((candidate) => isScalar(candidate.key) && candidate.key.value === step);
        if (pair === undefined) break;
        key = pair.key;
        node = this.#follow(pair.value);
      } else if (isSeq(node) && typeof step === "number" && step < node.items.length) {
        key = undefined;
        node = this.#follow(node.items[step] as ParsedNode | null);
      } else break;
      depth++;
    }
    return { node, key, depth };
  }

  #follow(node: ParsedNode | null): ParsedNode | null {
    let current = node;
    while (isAlias(current)) current = this.#aliases.get(current) ?? null;
    return current;
  }
}

function position(lines: LineCounter, offset: number): TextPosition {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(1, line), column: Math.max(1, col) };
}
