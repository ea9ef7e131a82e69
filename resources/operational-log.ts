import { type AuthoredPart, type Declaration, readObject } from "./authored.ts";
import type { Key, Scope } from "./inventory.ts";
import { isKind, type Kind } from "./kinds.ts";
import { ProblemList, type Source, type Subject } from "./problems.ts";

/**
 * What the API and controllers did since the tree was written, in order: the inventory is the authored tree with this
 * merged over it.
 */
export type OperationalLog = readonly LogEntry[];

export interface LogEntry {
  /** Strictly increasing. */
  readonly sequence: number;
  /** RFC 3339. */
  readonly at: string;
  /** Who did it. */
  readonly by: string;
  readonly operation: LogOperation;
}

export type LogOperation =
  /** The object as it would stand in YAML, its scope in `metadata.namespace` ("." unless given). */
  | { readonly type: "put"; readonly object: unknown }
  /** Deleting what is not there (any more) is no error. */
  | { readonly type: "delete"; readonly kind: string; readonly key: Key };

/** Kinds that the log may hold; everything else is authored. */
const LOG_KINDS: ReadonlySet<Kind> = new Set(["Approval", "Rollout", "Experiment"]);

/** The file name in positions of what an entry brought. */
export function logFile(sequence: number): string {
  return `log:${sequence}`;
}

/** Applies the log to what the tree holds: a put replaces the object of the same kind and key, a delete removes it. */
export function mergeLog(tree: AuthoredPart, log: OperationalLog): AuthoredPart {
  if (log.length === 0) return tree;
  const problems = new ProblemList();
  problems.push(...tree.problems);
  const objects = new Map(tree.objects.map((object) => [identityOf(object), object]));
  const declarations = new Map(tree.declarations.map((declaration) => [identityOf(declaration), declaration]));
  let last = Number.NEGATIVE_INFINITY;
  for (const { sequence, operation } of log) {
    const source = logSource(sequence);
    const subject: Subject = { scope: ".", source };
    if (sequence <= last) {
      problems.error(subject, [], "invalid-log", `sequence ${sequence} follows ${last}`, "entries are in order");
      continue;
    }
    last = sequence;
    if (operation.type === "delete") {
      const identity = `${operation.kind} ${operation.key}`;
      if (isLogKind(operation.kind)) {
        objects.delete(identity);
        declarations.delete(identity);
      } else problems.error(subject, [], "invalid-log", `the log cannot delete a ${operation.kind}`, KINDS_HINT);
      continue;
    }
    const kind = kindOf(operation.object);
    if (kind !== undefined && !isLogKind(kind)) {
      problems.error(subject, [], "invalid-log", `the log cannot hold a ${kind}`, KINDS_HINT);
      continue;
    }
    const part = readObject(operation.object, scopeOfObject(operation.object), source);
    problems.push(...part.problems);
    for (const object of part.objects) {
      objects.set(identityOf(object), object);
      declarations.set(identityOf(object), object);
    }
  }
  return { objects: [...objects.values()], declarations: [...declarations.values()], problems: problems.sorted() };
}

function identityOf({ kind, key }: Declaration): string {
  return `${kind} ${key}`;
}

const KINDS_HINT = `the log holds ${[...LOG_KINDS].join(", ")}; the rest is written as YAML`;

function isLogKind(kind: string): boolean {
  return isKind(kind) && LOG_KINDS.has(kind);
}

function kindOf(object: unknown): string | undefined {
  if (typeof object !== "object" || object === null || !("kind" in object)) return undefined;
  return typeof object.kind === "string" ? object.kind : undefined;
}

function scopeOfObject(object: unknown): Scope {
  if (typeof object !== "object" || object === null || !("metadata" in object)) return ".";
  const { metadata } = object;
  if (typeof metadata !== "object" || metadata === null || !("namespace" in metadata)) return ".";
  return typeof metadata.namespace === "string" ? metadata.namespace : ".";
}

/** An entry is one place. */
function logSource(sequence: number): Source {
  const here = () => ({ file: logFile(sequence), line: 1, column: 1 });
  return { file: logFile(sequence), at: here, keyAt: here, within: here };
}
