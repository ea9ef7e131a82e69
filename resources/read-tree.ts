import { type BigIntStats, type Dirent, statSync } from "node:fs";
import { type FileHandle, open, readdir, realpath, stat } from "node:fs/promises";
import { join, posix, sep } from "node:path";
import { setImmediate } from "node:timers/promises";
import { ChanceryError } from "./error.ts";
import type { Problem } from "./problem.ts";
import type { ProblemCode } from "./problem-codes.ts";
import { type ResourceFiles, resourceFiles, scopeOf } from "./resource-files.ts";

export const TREE_LIMITS = { fileBytes: 1_048_576, files: 20_000, entries: 200_000, depth: 16 } as const;

/** How many files are open at once. */
const PARALLEL = 32;
/** Files that are looked at without a pause: well under a millisecond. */
const SLICE = 128;

/** How to read a tree that people work on: what is being written just now is not taken as it is. */
export interface SettledReading {
  /** Path → text of the files as they were read before; what stands in for a file that is being written. */
  readonly before: ReadonlyMap<string, string>;
  /** A file that was written less than this long ago (milliseconds) may be half of what it will be. */
  readonly settleMs: number;
  /** The same for a file that is empty: editors truncate before they write. */
  readonly emptySettleMs: number;
  /** Milliseconds since the epoch, as file systems count. */
  readonly now: () => number;
  /** Told of each file for which `before` stands in; a new one is left out. */
  readonly onUnsettled: (path: string) => void;
  /** What was read before, kept by the caller from one reading to the next: what looks the same is not read again. */
  readonly known?: KnownTree;
  /**
   * Paths relative to the root of all files and directories that may be other than at the reading before, as far as the
   * caller has heard; what is known of others is not looked at. Absent: any may be.
   */
  readonly changed?: ReadonlySet<string> | undefined;
}

/** What was found at the reading before. */
export interface KnownTree {
  /** Path → what a file looked like to the file system, and its text. */
  readonly files: Map<string, KnownFile>;
  /** Path → what was in a directory; not of those that a link leads to. */
  readonly directories: Map<string, Listing>;
}

interface KnownFile {
  readonly looks: string;
  readonly text: string;
}

interface Listing {
  /** Its real path. */
  readonly real: string;
  readonly entries: readonly Dirent[];
}

/** File systems tell times apart by some milliseconds: what was changed this long ago (milliseconds) shows it by its times. */
const TOLD_APART_MS = 2_000;

/**
 * Reads every `*.yaml` and `*.yml` below `root`, without `node_modules` and whatever begins with a dot. What cannot be
 * read is a problem of its scope, in the result.
 *
 * @param settled  absent: every file is taken as it is
 * @throws ChanceryError not-found when there is no such directory; invalid-resources beyond 20,000 files
 */
export async function readTree(root: string, settled?: SettledReading): Promise<ResourceFiles> {
  const walk = new Walk(await rootPath(root), settled);
  await walk.all();
  const files = await knownTexts(walk, settled?.known?.files);
  const unread = [...walk.found.keys()].filter((path) => !files.has(path));
  for (let start = 0; start < unread.length; start += PARALLEL) {
    const batch = unread.slice(start, start + PARALLEL);
    const texts = await Promise.all(batch.map((path) => readText(walk.root, path, walk.problems, settled)));
    for (const [index, path] of batch.entries()) {
      const text = texts[index];
      if (text !== undefined) files.set(path, text);
    }
  }
  for (const path of settled?.known?.files.keys() ?? []) if (!files.has(path)) settled?.known?.files.delete(path);
  return resourceFiles(files, walk.problems);
}

async function rootPath(root: string): Promise<string> {
  try {
    if ((await stat(root)).isDirectory()) return await realpath(root);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw ChanceryError.from(error, "not-found");
  }
  throw new ChanceryError("not-found", `there is no directory ${root}: name the directory that holds the resources`);
}

/** How a walk came to a directory. */
interface Way {
  readonly depth: number;
  /** Real paths of the directories above. */
  readonly above: readonly string[];
  /** Whether something in it, or on the way to it, may be other than before. */
  readonly doubtful: boolean;
  /** Whether a link is on the way. */
  readonly linked: boolean;
}

/** One pass over the directories. */
class Walk {
  readonly root: string;
  /** YAML files in order, and of each whether it may be other than before. */
  readonly found = new Map<string, { readonly doubtful: boolean }>();
  readonly problems: Problem[] = [];
  readonly #known: Map<string, Listing>;
  readonly #changed: ReadonlySet<string> | undefined;
  /** Directories in which something changed. */
  readonly #touched: ReadonlySet<string>;
  readonly #listings = new Map<string, Listing>();
  #entries = 0;

  constructor(root: string, settled: SettledReading | undefined) {
    this.root = root;
    this.#known = settled?.known?.directories ?? new Map();
    this.#changed = settled?.changed;
    this.#touched = new Set([...(settled?.changed ?? [])].map((path) => posix.dirname(path)));
  }

  async all(): Promise<void> {
    // Where another directory goes by the name of the root, nothing is known of it.
    const doubtful = this.#changed === undefined || this.#known.get(".")?.real !== this.root;
    await this.#directory(".", { depth: 0, above: [], doubtful, linked: false });
    this.#known.clear();
    for (const [path, listing] of this.#listings) this.#known.set(path, listing);
  }

  async #directory(path: string, way: Way): Promise<void> {
    const doubtful = way.doubtful || this.#changed?.has(path) === true;
    const known = doubtful || this.#touched.has(path) ? undefined : this.#known.get(path);
    const listed = known ?? (await this.#list(path));
    if (listed === undefined) return;
    const { real, entries } = listed;
    if (way.above.includes(real)) {
      this.problems.push(unreadableDirectory("symlink-cycle", path, "this link leads back to a directory above it"));
      return;
    }
    if (way.depth > TREE_LIMITS.depth) {
      const message = `directories lie at most ${TREE_LIMITS.depth} deep`;
      this.problems.push(unreadableDirectory("tree-too-deep", path, message));
      return;
    }
    if (!way.linked) this.#listings.set(path, listed);
    const below = { ...way, depth: way.depth + 1, above: [...way.above, real], doubtful };
    for (const entry of entries) {
      if (++this.#entries > TREE_LIMITS.entries) throw tooMany(`${TREE_LIMITS.entries} directory entries`);
      if (entry.name.startsWith(".") || entry.name === "node_modules") continue;
      await this.#entry(posix.join(path, entry.name), entry, below);
    }
  }

  async #list(path: string): Promise<Listing | undefined> {
    try {
      const real = await realpath(join(this.root, path));
      const entries = await readdir(real, { withFileTypes: true });
      return { real, entries: entries.sort((a, b) => (a.name < b.name ? -1 : 1)) };
    } catch (error) {
      // Removed since the directory above was listed: then it is not part of the tree any more.
      if (codeOf(error) === "ENOENT" && path !== ".") return undefined;
      const message = `this directory cannot be read (${codeOf(error)})`;
      this.problems.push(unreadableDirectory("unreadable-directory", path, message));
      return undefined;
    }
  }

  async #entry(path: string, entry: Dirent, way: Way): Promise<void> {
    let directory = entry.isDirectory();
    let file = entry.isFile();
    if (entry.isSymbolicLink()) {
      const target = await this.#follow(path);
      directory = target === "directory";
      file = target === "file";
    }
    // What a link leads to changes without a sign in the directory of the link.
    const linked = way.linked || entry.isSymbolicLink();
    const doubtful = way.doubtful || linked;
    if (directory) await this.#directory(path, { ...way, doubtful, linked });
    else if (file && isYaml(path)) {
      if (this.found.size >= TREE_LIMITS.files) throw tooMany(`${TREE_LIMITS.files} YAML files`);
      this.found.set(path, { doubtful: doubtful || this.#changed?.has(path) === true });
    } else if (!entry.isSymbolicLink() && isYaml(path)) {
      this.problems.push(unreadable("unreadable-file", path, "this is no regular file"));
    }
  }

  /** What a link leads to, if that lies in the tree. Links that are of no interest here raise no problem. */
  async #follow(path: string): Promise<"directory" | "file" | undefined> {
    const full = join(this.root, path);
    try {
      const [real, status] = await Promise.all([realpath(full), stat(full)]);
      const kind = status.isDirectory() ? "directory" : status.isFile() && isYaml(path) ? "file" : undefined;
      if (kind === undefined && isYaml(path)) {
        this.problems.push(unreadable("unreadable-file", path, "this link leads to no regular file"));
      } else if (kind !== undefined && !isInside(this.root, real)) {
        const found = kind === "file" ? unreadable : unreadableDirectory;
        this.problems.push(found("symlink-outside", path, "this link leads out of the resource tree"));
        return undefined;
      }
      return kind;
    } catch (error) {
      if (isYaml(path))
        this.problems.push(unreadable("unreadable-file", path, `this link leads nowhere (${codeOf(error)})`));
      return undefined;
    }
  }
}

/** Whether the real path `real` is `root` or below it. */
export function isInside(root: string, real: string): boolean {
  return real === root || real.startsWith(root.endsWith(sep) ? root : root + sep);
}

function isYaml(path: string): boolean {
  return path.endsWith(".yaml") || path.endsWith(".yml");
}

function tooMany(what: string): ChanceryError {
  return new ChanceryError(
    "invalid-resources",
    `the resource tree has more than ${what}: is this the right directory?`,
  );
}

/**
 * Texts of files that look as they did when they were read before. Of a large tree nearly all do, and asking the file
 * system on threads would cost several times what the answer costs.
 */
async function knownTexts({ root, found }: Walk, known: KnownTree["files"] | undefined): Promise<Map<string, string>> {
  const texts = new Map<string, string>();
  if (known === undefined) return texts;
  let looks = 0;
  for (const [path, { doubtful }] of found) {
    const before = known.get(path);
    if (before === undefined) continue;
    if (doubtful && ++looks % SLICE === 0) await setImmediate();
    if (!doubtful || before.looks === looksNow(join(root, path))) texts.set(path, before.text);
  }
  return texts;
}

/** The text of a file; undefined when it is gone, or with a problem when it cannot be taken. */
async function readText(
  root: string,
  path: string,
  problems: Problem[],
  settled: SettledReading | undefined,
): Promise<string | undefined> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(join(root, path), "r");
    // Its size is asked for first, so that no file is read that will not be taken.
    const bytes = (await handle.stat()).size > TREE_LIMITS.fileBytes ? undefined : await handle.readFile();
    if (bytes === undefined || bytes.length > TREE_LIMITS.fileBytes) {
      problems.push(unreadable("file-too-large", path, "a file may have 1 MiB", "split it"));
      return undefined;
    }
    const stats = await handle.stat({ bigint: true });
    if (settled !== undefined && isBeingWritten(Number(stats.mtimeMs), bytes.length, settled)) {
      settled.onUnsettled(path);
      settled.known?.files.delete(path);
      return settled.before.get(path);
    }
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    const isOld = settled !== undefined && settled.now() - Number(stats.ctimeMs) > TOLD_APART_MS;
    // Its size before it was read is the one after it: nobody wrote in between.
    if (isOld && stats.size === BigInt(bytes.length)) settled.known?.files.set(path, { looks: looksOf(stats), text });
    else settled?.known?.files.delete(path);
    return text;
  } catch (error) {
    // Removed since the directory was listed: then it is not part of the tree any more.
    if (codeOf(error) === "ENOENT") return undefined;
    const utf8 = error instanceof TypeError;
    const message = utf8 ? "this file is not UTF-8" : `this file cannot be read (${codeOf(error)})`;
    problems.push(unreadable("unreadable-file", path, message, utf8 ? "save it as UTF-8" : undefined));
    return undefined;
  } finally {
    await handle?.close();
  }
}

function looksNow(file: string): string | undefined {
  try {
    return looksOf(statSync(file, { bigint: true }));
  } catch {
    // Whoever reads it finds the same, and says so.
    return undefined;
  }
}

function looksOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`;
}

/** A time in the future says nothing: then the file system's clock is another one. */
function isBeingWritten(mtimeMs: number, bytes: number, { settleMs, emptySettleMs, now }: SettledReading): boolean {
  const age = now() - mtimeMs;
  return age > -settleMs && age < (bytes === 0 ? emptySettleMs : settleMs);
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "unknown";
}

function unreadable(code: ProblemCode, path: string, message: string, hint?: string): Problem {
  const at = { file: path, line: 1, column: 1 };
  return { severity: "error", code, message, scope: scopeOf(path), at, ...(hint === undefined ? {} : { hint }) };
}

/** A directory is the scope that is not there to be read, and the file that is pointed at. */
function unreadableDirectory(code: ProblemCode, path: string, message: string): Problem {
  return { ...unreadable(code, path, message), scope: path };
}
