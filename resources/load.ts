import { type AnyAuthored, type AuthoredPart, readFileObjects } from "./authored.ts";
import { Linker, type LoadResult } from "./link.ts";
import { mergeLog, type OperationalLog } from "./operational-log.ts";
import { ProblemList } from "./problems.ts";
import { type ResourceFiles, resourceFiles } from "./resource-files.ts";

interface ParsedFile {
  readonly text: string;
  readonly part: AuthoredPart;
}

/** Long work is done in slices. */
export interface Pauses {
  /** Milliseconds of work between two pauses. */
  readonly sliceMs: number;
  /** Milliseconds; any origin. */
  readonly monotonic: () => number;
  /** Resolves when other work was done. */
  readonly rest: () => Promise<unknown>;
}

/**
 * What files were found to hold, and what their objects were resolved to, so that an edit costs the work for one file.
 * Keeps the two latest texts of each path (a tree and its last good), and forgets paths that are gone once they outnumber
 * those in use.
 */
export class ParseCache {
  readonly #parsed = new Map<string, readonly ParsedFile[]>();
  readonly linker = new Linker();

  /** Parses what is not known yet, with pauses in which other work is done: thousands of files take seconds. */
  async prepare(files: ReadonlyMap<string, string>, { sliceMs, monotonic, rest }: Pauses): Promise<void> {
    let begun = monotonic();
    for (const [path, text] of files) {
      this.#part(path, text);
      if (monotonic() - begun < sliceMs) continue;
      await rest();
      begun = monotonic();
    }
  }

  read(files: ReadonlyMap<string, string>): readonly AuthoredPart[] {
    const parts = [...files].map(([path, text]) => this.#part(path, text));
    if (this.#parsed.size > 2 * files.size + 1_000) {
      for (const path of this.#parsed.keys()) if (!files.has(path)) this.#parsed.delete(path);
    }
    return parts;
  }

  #part(path: string, text: string): AuthoredPart {
    const known = this.#parsed.get(path) ?? [];
    const same = known.find((parsed) => parsed.text === text);
    const used = same ?? { text, part: readFileObjects(path, text) };
    if (known[0] !== used) this.#parsed.set(path, [used, ...known.filter((parsed) => parsed !== used)].slice(0, 2));
    return used.part;
  }
}

/**
 * Authored files and operational log to the inventory. Pure; never throws on what people wrote: everything wrong is in
 * `problems`, all at once.
 */
export function parseResources(
  files: ResourceFiles | ReadonlyMap<string, string>,
  log: OperationalLog = [],
  cache: ParseCache = new ParseCache(),
): LoadResult {
  const tree = "files" in files ? files : resourceFiles(files);
  const parts = cache.read(tree.files);
  const authored = withoutDuplicates({
    declarations: parts.flatMap((part) => part.declarations),
    objects: parts.flatMap((part) => part.objects),
    problems: [...tree.problems, ...parts.flatMap((part) => part.problems)],
  });
  return cache.linker.link(mergeLog(authored, log));
}

/** Of objects with the same kind and key the first stays. */
function withoutDuplicates({ declarations, objects, problems }: AuthoredPart): AuthoredPart {
  const found = new ProblemList();
  found.push(...problems);
  const first = new Map<string, AnyAuthored>();
  for (const object of objects) {
    const identity = `${object.kind} ${object.key}`;
    const other = first.get(identity);
    if (other === undefined) first.set(identity, object);
    else {
      const { file, line } = other.source.at(["metadata", "name"]);
      const message = `${object.kind} "${object.key}" is also at ${file}:${line}`;
      found.error(object, ["metadata", "name"], "duplicate-object", message, "rename or remove one of them");
    }
  }
  return { declarations, objects: [...first.values()], problems: found.sorted() };
}
