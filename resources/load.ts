import { type AnyAuthored, type Authored, type AuthoredPart, readFileObjects } from "./authored.ts";
import type { Inventory, Key, Scope } from "./inventory.ts";
import type { Kind } from "./kinds.ts";
import { mergeLog, type OperationalLog } from "./operational-log.ts";
import { locatePositions, type Positions } from "./positions.ts";
import type { Problem } from "./problem.ts";
import { ProblemList } from "./problems.ts";
import { type FileReference, References } from "./references.ts";
import { resolveApplication } from "./resolve/application.ts";
import { resolveApproval } from "./resolve/approval.ts";
import { resolveApprovalRule } from "./resolve/approval-rule.ts";
import { resolveDeployment } from "./resolve/deployment.ts";
import { resolveGateway } from "./resolve/gateway.ts";
import { resolveHttpRoute } from "./resolve/http-route.ts";
import { resolveLawPack } from "./resolve/law-pack.ts";
import type { Linking } from "./resolve/linking.ts";
import { resolveModel } from "./resolve/model.ts";
import { resolveModelVersion } from "./resolve/model-version.ts";
import { resolvePolicy } from "./resolve/policy.ts";
import { resolvePolicyTest } from "./resolve/policy-test.ts";
import { resolveQuarantine } from "./resolve/quarantine.ts";
import { resolveSecret } from "./resolve/secret.ts";
import { resolveExperiment, resolveRollout } from "./resolve/split.ts";
import { resolveUpstream } from "./resolve/upstream.ts";
import { type ResourceFiles, resourceFiles } from "./resource-files.ts";
import { checkTree } from "./tree-checks.ts";

export interface LoadResult {
  /** Every object that is right. While `problems` has errors, what these refer to may be missing. */
  readonly inventory: Inventory;
  /** By file, line and column. */
  readonly problems: readonly Problem[];
  readonly positions: Positions;
  /** Files that objects name, relative to the root; whether they exist is for the edge to see. */
  readonly files: readonly FileReference[];
  /** Scope → other scopes that its objects refer to. */
  readonly dependencies: ReadonlyMap<Scope, ReadonlySet<Scope>>;
}

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
 * What files were found to hold, so that an edit costs the parsing of one file. Keeps the two latest texts of each
 * path (a tree and its last good), and forgets paths that are gone once they outnumber those in use.
 */
export class ParseCache {
  readonly #parsed = new Map<string, readonly ParsedFile[]>();

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
  return link(mergeLog(authored, log));
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

function link({ declarations, objects, problems: earlier }: AuthoredPart): LoadResult {
  const problems = new ProblemList();
  problems.push(...earlier);
  const references = new References(declarations, objects, problems);
  const linking: Linking = { references, problems };

  function resolved<K extends Kind, T>(
    kind: K,
    resolve: (object: Authored<K>, linking: Linking) => T | undefined,
  ): T[] {
    const results: { readonly key: Key; readonly value: T }[] = [];
    for (const object of objects) {
      if (object.kind !== kind) continue;
      const before = problems.errors;
      const value = resolve(object as Authored<K>, linking);
      if (value !== undefined && problems.errors === before) results.push({ key: object.key, value });
    }
    // By key, so that the same tree gives the same inventory however its files are cut.
    return results.sort((a, b) => (a.key < b.key ? -1 : 1)).map(({ value }) => value);
  }

  const inventory: Inventory = {
    gateways: resolved("Gateway", resolveGateway),
    httpRoutes: resolved("HTTPRoute", resolveHttpRoute),
    secrets: resolved("Secret", resolveSecret),
    upstreams: resolved("Upstream", resolveUpstream),
    models: resolved("Model", resolveModel),
    modelVersions: resolved("ModelVersion", resolveModelVersion),
    deployments: resolved("Deployment", resolveDeployment),
    applications: resolved("Application", resolveApplication),
    approvals: resolved("Approval", resolveApproval),
    approvalRules: resolved("ApprovalRule", resolveApprovalRule),
    policies: resolved("Policy", resolvePolicy),
    lawPacks: resolved("LawPack", resolveLawPack),
    rollouts: resolved("Rollout", resolveRollout),
    experiments: resolved("Experiment", resolveExperiment),
    quarantines: resolved("Quarantine", resolveQuarantine),
    policyTests: resolved("PolicyTest", resolvePolicyTest),
  };
  checkTree(inventory, objects, problems);
  return {
    inventory,
    problems: problems.sorted(),
    positions: locatePositions(objects),
    files: references.files,
    dependencies: references.dependencies,
  };
}
