import { createHash } from "node:crypto";
import { posix } from "node:path";
import type { Scope } from "./inventory.ts";
import type { Problem } from "./problem.ts";

/** The YAML files of a resource tree at one moment, as text. */
export interface ResourceFiles {
  /** "/"-separated path relative to the root → text. */
  readonly files: ReadonlyMap<string, string>;
  /** SHA-256 (hex) over paths, texts, and what could not be read: equal digests mean equal trees. */
  readonly digest: string;
  /** What was found wrong while reading: too large, not UTF-8, a link that leads outside. */
  readonly problems: readonly Problem[];
}

export function resourceFiles(files: ReadonlyMap<string, string>, problems: readonly Problem[] = []): ResourceFiles {
  const sorted = new Map([...files].sort(([left], [right]) => (left < right ? -1 : left > right ? 1 : 0)));
  const hash = createHash("sha256");
  // Each part is preceded by its length, so that no two trees run together to the same bytes.
  const add = (part: string): void => {
    hash.update(`${Buffer.byteLength(part)}:`).update(part);
  };
  for (const [path, text] of sorted) {
    add(path);
    add(text);
  }
  for (const line of problems.map((problem) => `${problem.at.file} ${problem.code} ${problem.message}`).sort()) {
    add("!");
    add(line);
  }
  return { files: sorted, digest: hash.digest("hex"), problems };
}

/** The directory of a file, "." for the root. */
export function scopeOf(path: string): Scope {
  return posix.dirname(path);
}

/** The scope itself, then every scope above it up to ".". */
export function scopeChain(scope: Scope): readonly Scope[] {
  if (scope === ".") return ["."];
  const parts = scope.split("/");
  const chain = parts.map((_, index) => parts.slice(0, parts.length - index).join("/"));
  return [...chain, "."];
}

/** Whether `inner` is `outer` or lies below it. */
export function isWithin(inner: Scope, outer: Scope): boolean {
  return outer === "." || inner === outer || inner.startsWith(`${outer}/`);
}
