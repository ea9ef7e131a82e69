import { createHash } from "node:crypto";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { ChanceryError } from "../resources/index.ts";
import { errorCode } from "../revision/index.ts";

const MAX_ENTRIES = 50_000;
const MAX_DEPTH = 32;
/** Entries that are looked at without a pause: well under a millisecond. */
const SLICE = 128;

/** What every file and directory below a root looks like to the file system. */
export interface TreeLook {
  /** Equal while no file was added, removed, replaced or written. */
  readonly signature: string;
  /** Directory → what tells it from another one of the same name. */
  readonly directories: ReadonlyMap<string, string>;
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
  const hash = createHash("sha256");
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
    hash.update(`${directory}\0${identity}\n`);
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
      if (stats !== undefined) {
        hash.update(`${path}\0${stats.dev} ${stats.ino} ${stats.size} ${stats.mtimeNs} ${stats.ctimeNs}\n`);
      }
    }
  }
  return { signature: hash.digest("hex"), directories };
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
