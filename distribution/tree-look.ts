import { type BigIntStats, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { ChanceryError } from "../resources/index.ts";
import { errorCode } from "../revision/index.ts";

const MAX_ENTRIES = 50_000;
const MAX_DEPTH = 32;
/** Entries that are looked at without a pause: well under a millisecond. */
const SLICE = 128;

/** What every file and directory below a root looks like to the file system. */
export interface TreeLook {
  /** File → what tells whether it was replaced or written. */
  readonly files: ReadonlyMap<string, string>;
  /** Directory → what tells it from another one of the same name. */
  readonly directories: ReadonlyMap<string, string>;
}

/** Whether no file was added, removed, replaced or written between two looks. */
export function sameLook(one: TreeLook, other: TreeLook): boolean {
  return sameEntries(one.files, other.files) && sameEntries(one.directories, other.directories);
}

function sameEntries(one: ReadonlyMap<string, string>, other: ReadonlyMap<string, string>): boolean {
  if (one.size !== other.size) return false;
  for (const [path, looks] of one) if (other.get(path) !== looks) return false;
  return true;
}

/**
 * A look again at paths of which something was heard, where that is enough.
 *
 * @returns undefined where it is not: a directory was added, removed or replaced, or something cannot be looked at
 */
export function lookAgain(before: TreeLook, paths: Iterable<string>): TreeLook | undefined {
  const files = new Map(before.files);
  try {
    for (const path of paths) {
      const stats = look(path);
      if (stats?.isDirectory() === true || before.directories.has(path)) return undefined;
      if (stats === undefined) files.delete(path);
      else files.set(path, looksOf(stats));
    }
  } catch {
    // Whoever looks at everything says what is wrong.
    return undefined;
  }
  return { files, directories: before.directories };
}

/** Whether a name is no part of a tree, nor what lies below it. */
export function isLeftOut(name: string): boolean {
  return name.startsWith(".") || name === "node_modules";
}

/**
 * Looks at a tree, with a pause now and then, as the caller likes to take it. The calls do not wait on threads: for small
 * things that are in the kernel's memory nearly always that would cost several times as much.
 *
 * @param found  told of each directory before what is in it is looked at
 * @throws ChanceryError "invalid-resources" for a tree that is too large
 */
export function* lookAtTree(root: string, found: (path: string, identity: string) => void): Generator<void, TreeLook> {
  const files = new Map<string, string>();
  const directories = new Map<string, string>();
  const waiting = [{ path: root, depth: 0 }];
  let entries = 0;
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { path: directory, depth } = next;
    if (depth > MAX_DEPTH) throw tooLarge(`${directory} is nested too deep to be watched`);
    const own = look(directory);
    if (own?.isDirectory() !== true) continue;
    const identity = `${own.dev} ${own.ino}`;
    directories.set(directory, identity);
    found(directory, identity);
    for (const entry of list(directory)) {
      if (isLeftOut(entry.name)) continue;
      if (++entries > MAX_ENTRIES) throw tooLarge(`${root} has more than ${MAX_ENTRIES} files: changes may be missed`);
      if (entries % SLICE === 0) yield;
      const path = join(directory, entry.name);
      if (entry.isDirectory()) {
        waiting.push({ path, depth: depth + 1 });
        continue;
      }
      const stats = look(path);
      if (stats !== undefined) files.set(path, looksOf(stats));
    }
  }
  return { files, directories };
}

function looksOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`;
}

/** undefined: gone since it was listed, or a link to nothing. */
function look(path: string) {
  return statSync(path, { bigint: true, throwIfNoEntry: false });
}

function list(directory: string) {
  try {
    return readdirSync(directory, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
  } catch (error) {
    if (errorCode(error) === "ENOENT") return [];
    throw error;
  }
}

function tooLarge(message: string): ChanceryError {
  return new ChanceryError("invalid-resources", message);
}
