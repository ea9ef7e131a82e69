import { realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import type { LoadResult } from "./link.ts";
import { type ParseCache, parseResources } from "./load.ts";
import type { OperationalLog } from "./operational-log.ts";
import type { Problem } from "./problem.ts";
import { isInside, readTree } from "./read-tree.ts";
import type { FileReference } from "./references.ts";
import type { ResourceFiles } from "./resource-files.ts";

export interface LoadedDirectory extends LoadResult {
  readonly tree: ResourceFiles;
}

/**
 * Reads and parses the directory `root`, and looks whether the files that it names exist.
 *
 * @throws ChanceryError as `readTree`
 */
export async function loadDirectory(root: string, log?: OperationalLog, cache?: ParseCache): Promise<LoadedDirectory> {
  const tree = await readTree(root);
  const loaded = parseResources(tree, log, cache);
  const missing = await checkFiles(loaded, root);
  return { ...loaded, tree, problems: [...loaded.problems, ...missing] };
}

/** Files that objects name (certificates, keys, JWKS) and that are not there, or lie outside `root` behind a link. */
export async function checkFiles(loaded: LoadResult, root: string): Promise<readonly Problem[]> {
  const real = await realpath(root);
  const problems: Problem[] = [];
  for (const reference of loaded.files) {
    const found = await fileState(join(real, reference.path), real);
    if (found === "file") continue;
    const at = reference.source.at(reference.at);
    const code = found === "outside" ? "outside-tree" : "missing-file";
    problems.push({ severity: "error", code, scope: reference.scope, at, ...WORDS[found](reference) });
  }
  return problems;
}

type FileState = "file" | "missing" | "notFile" | "outside";

const WORDS: Readonly<
  Record<Exclude<FileState, "file">, (reference: FileReference) => { readonly message: string; readonly hint: string }>
> = {
  missing: ({ path }) => ({
    message: `there is no file ${path}`,
    hint: "a path is relative to the directory of this YAML file",
  }),
  notFile: ({ path }) => ({ message: `${path} is not a file`, hint: "name the file itself" }),
  outside: ({ path }) => ({
    message: `${path} is a link out of the resource tree`,
    hint: "put the file itself into the tree",
  }),
};

async function fileState(path: string, root: string): Promise<FileState> {
  try {
    const [real, status] = await Promise.all([realpath(path), stat(path)]);
    if (!isInside(root, real)) return "outside";
    return status.isFile() ? "file" : "notFile";
  } catch {
    // Whatever keeps us from seeing it, for those who need it the file is not there.
    return "missing";
  }
}
