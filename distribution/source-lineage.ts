import { execFile } from "node:child_process";
import { lstatSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { ChanceryError } from "../resources/index.ts";

/** Where a tree stands in the history of its git repository. */
export interface SourceLineage {
  /** Commit that is checked out; "+dirty" follows where files differ from it. */
  readonly commit: string;
  /** Whether that commit is `ancestor` (with or without "+dirty"), or came after it. */
  descendsFrom(ancestor: string): Promise<boolean>;
}

export interface Checkout {
  /** undefined: it is no git checkout. */
  readonly lineage: SourceLineage | undefined;
  /** Publish it whatever it comes after. */
  readonly force: boolean;
}

const TIMEOUT_MS = 10_000;
const DIRTY = "+dirty";
const BRANCH_COMMIT = /^# branch\.oid ([0-9a-f]{40,64})$/;

/**
 * Looks at the git checkout that a directory lies in.
 *
 * @returns undefined where it lies in none, or git is not there or does not answer
 */
export async function sourceLineage(directory: string): Promise<SourceLineage | undefined> {
  // A process of git costs more than all that is done for a small change.
  if (!mayBeCheckout(directory)) return undefined;
  const status = await git(directory, "status", "--porcelain=v2", "--branch", "--no-ahead-behind", "--", ".");
  const lines = status?.code === 0 ? status.stdout.split("\n").filter((line) => line !== "") : [];
  const commit = lines.map((line) => BRANCH_COMMIT.exec(line)?.[1]).find((found) => found !== undefined);
  if (commit === undefined) return undefined;
  const isDirty = lines.some((line) => !line.startsWith("#"));
  const answers = new Map<string, Promise<boolean>>();
  const isAncestor = async (of: string): Promise<boolean> =>
    // Exit 1: it is none; 128: this repository does not have it.
    (await git(directory, "merge-base", "--is-ancestor", of, commit))?.code === 0;
  return {
    commit: isDirty ? commit + DIRTY : commit,
    async descendsFrom(ancestor) {
      const bare = ancestor.endsWith(DIRTY) ? ancestor.slice(0, -DIRTY.length) : ancestor;
      if (bare === commit) return true;
      const answer = answers.get(bare) ?? isAncestor(bare);
      answers.set(bare, answer);
      return await answer;
    },
  };
}

/** Whether git would find a repository there: it goes upwards until it meets `.git`, a directory or a file that names one. */
function mayBeCheckout(directory: string): boolean {
  if (process.env.GIT_DIR !== undefined) return true;
  try {
    for (let at = realpathSync(directory); ; at = dirname(at)) {
      if (lstatSync(join(at, ".git"), { throwIfNoEntry: false }) !== undefined) return true;
      if (at === dirname(at)) return false;
    }
  } catch {
    // It is not there, or not ours to look at: git says what that means.
    return true;
  }
}

/**
 * A tree that does not follow what is in force is most likely an old or a wrong checkout.
 *
 * @param lineage  of the tree that is to be published
 * @param inForce  commit of the newest revision; undefined: it names none, so nothing is known to be left behind
 * @throws ChanceryError "conflict"
 */
export async function demandDescent(lineage: SourceLineage | undefined, inForce: string | undefined): Promise<void> {
  if (inForce === undefined || (await lineage?.descendsFrom(inForce)) === true) return;
  const tree = lineage === undefined ? "is no git checkout" : `is at ${lineage.commit}, which does not come after it`;
  throw new ChanceryError(
    "conflict",
    `the revision in force was made from commit ${inForce}, and this tree ${tree}: nothing is published; check out a commit that follows (git fetch, git revert), or publish it all the same with --force-source`,
  );
}

/** @returns undefined when git could not be run to its end */
function git(directory: string, ...args: readonly string[]): Promise<{ code: number; stdout: string } | undefined> {
  // A repository may name programs for git to run: none of that is wanted here.
  const safe = ["-C", directory, "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", ...args];
  const env = { ...process.env, GIT_OPTIONAL_LOCKS: "0", LC_ALL: "C" };
  return new Promise((resolve) => {
    execFile("git", safe, { timeout: TIMEOUT_MS, maxBuffer: 1024 * 1024, env }, (error, stdout) => {
      if (error === null) resolve({ code: 0, stdout });
      else resolve(typeof error.code === "number" ? { code: error.code, stdout } : undefined);
    });
  });
}
