import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CompileResult, compile } from "../compiler/index.ts";
import { createJwksReader } from "../distribution/index.ts";
import { type LoadedDirectory, type LoadResult, loadDirectory, type Problem } from "../resources/index.ts";

/** A tree and what it is compiled to. */
export interface CompiledTree {
  readonly loaded: LoadResult;
  readonly compiled: CompileResult;
}

export interface CompiledDirectory extends CompiledTree {
  readonly loaded: LoadedDirectory;
  /** Of both, by file, line and column; what is found twice is told once. */
  readonly problems: readonly Problem[];
}

/**
 * Reads, checks and compiles a resource tree once, without the network: the keys of issuers behind a URL are left out.
 *
 * @throws ChanceryError "not-found" when there is no such directory
 */
export async function compileDirectory(directory: string): Promise<CompiledDirectory> {
  const loaded = await loadDirectory(directory);
  const { jwks, problems: keyProblems } = await readKeyFiles(directory, loaded);
  const compiled = compile(loaded.inventory, { jwks, positions: loaded.positions });
  const all = [...loaded.problems, ...keyProblems, ...compiled.problems];
  const distinct = new Map(all.map((problem) => [`${place(problem)} ${problem.code} ${problem.message}`, problem]));
  const sorted = [...distinct.values()].sort(
    (a, b) => compareText(a.at.file, b.at.file) || a.at.line - b.at.line || a.at.column - b.at.column,
  );
  return { loaded, compiled, problems: sorted };
}

async function readKeyFiles(directory: string, loaded: LoadedDirectory) {
  const problems: Problem[] = [];
  const unread = new Set(loaded.problems.filter(({ code }) => code === "missing-file" || code === "outside-tree"));
  const cacheDirectory = await mkdtemp(join(tmpdir(), "chancery-check-"));
  const applications = loaded.inventory.applications;
  const reader = createJwksReader({
    root: directory,
    cacheDirectory,
    fetch: () => Promise.reject(new Error("a check does not use the network")),
    fileIntervalMs: 3_600_000,
    urlIntervalMs: 3_600_000,
    onChange: () => undefined,
    onFailure: (source, error) => {
      if (!source.startsWith("file:") || unread.size > 0) return;
      const file = source.slice("file:".length);
      const application = applications.find(({ jwt }) => jwt.some(({ jwks }) => "file" in jwks && jwks.file === file));
      const at = { file, line: 1, column: 1 };
      const scope = application?.scope ?? ".";
      problems.push({ severity: "error", code: "invalid-value", message: error.message, scope, at });
    },
  });
  try {
    const jwks = await reader.read(applications.flatMap((application) => application.jwt));
    return { jwks, problems };
  } finally {
    reader.close();
    await rm(cacheDirectory, { recursive: true, force: true });
  }
}

function place({ at }: Problem): string {
  return `${at.file}:${at.line}:${at.column}`;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
