import type { Inventory, Key, Maturity, ModelVersion } from "./inventory.ts";
import type { LoadResult } from "./link.ts";
import type { Problem } from "./problem.ts";
import type { Path } from "./yaml-document.ts";

/** What is remembered of a version once it was published: its identity never changes, its maturity only step by step. */
export interface RegisteredVersion {
  readonly kind: "version";
  readonly key: Key;
  readonly model: Key;
  readonly version: string;
  readonly provider: string;
  readonly maturity: Maturity;
  readonly digest?: string;
  readonly owner?: string;
}

/** From each maturity those that a published version may have next: one step up, any step back, and out. */
export const MATURITY_STEPS: Readonly<Record<Maturity, readonly Maturity[]>> = {
  experimental: ["shadow", "retired"],
  shadow: ["experimental", "canary", "retired"],
  canary: ["experimental", "shadow", "production", "retired"],
  production: ["experimental", "shadow", "canary", "deprecated", "retired"],
  deprecated: ["production", "retired"],
  retired: [],
};

/** What tells a version apart for good, whatever its object is called. */
export function identityOf({ model, version }: Pick<ModelVersion, "model" | "version">): string {
  return `${model}@${version}`;
}

export function registeredVersion(object: ModelVersion): RegisteredVersion {
  const { key, model, version, provider, maturity, digest, owner } = object;
  return {
    ...({ kind: "version", key, model, version, provider, maturity } as const),
    ...(digest === undefined ? {} : { digest }),
    ...(owner === undefined ? {} : { owner }),
  };
}

/**
 * What a tree says of versions otherwise than the registry has it: another digest or provider under the same name and
 * version, or a maturity that does not follow.
 *
 * @param known  by `identityOf`: what was published last of each version, also of those that are gone
 */
export function registryProblems(
  { inventory, positions }: Pick<LoadResult, "positions"> & { readonly inventory: Pick<Inventory, "modelVersions"> },
  known: ReadonlyMap<string, RegisteredVersion>,
): readonly Problem[] {
  return inventory.modelVersions.flatMap((version): Problem[] => {
    const before = known.get(identityOf(version));
    if (before === undefined) return [];
    const problem = (path: Path, code: Problem["code"], message: string, hint: string): Problem => ({
      ...{ severity: "error", code, message, hint, scope: version.scope },
      at: positions.locate("ModelVersion", version.key, path) ?? { file: version.key, line: 1, column: 1 },
    });
    const found: Problem[] = [];
    const name = `${version.model} ${version.version}`;
    const hint = "what is not the same is another version: give it another spec.version";
    if (before.digest !== undefined && version.digest !== undefined && version.digest !== before.digest) {
      const message = `${name} was published with the digest ${before.digest}`;
      found.push(problem(["spec", "digest"], "identity-changed", message, hint));
    }
    if (version.provider !== before.provider) {
      const message = `${name} was published as one of ${before.provider}`;
      found.push(problem(["spec", "provider"], "identity-changed", message, hint));
    }
    const next = MATURITY_STEPS[before.maturity];
    if (version.maturity !== before.maturity && !next.includes(version.maturity)) {
      const message = `${name} is ${before.maturity} and cannot become ${version.maturity}`;
      const legal = next.length === 0 ? `${before.maturity} is final` : `from ${before.maturity}: ${next.join(", ")}`;
      found.push(problem(["spec", "maturity"], "illegal-transition", message, legal));
    }
    return found;
  });
}
