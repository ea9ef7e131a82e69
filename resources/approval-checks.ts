import type { Inventory, ModelVersion } from "./inventory.ts";
import type { TreePlaces } from "./tree-places.ts";

/** What a version was when it was approved. What is absent is not held to it. */
export interface ApprovedIdentity {
  /** Key of the Model. */
  readonly model?: string;
  readonly version?: string;
  readonly provider?: string;
  readonly digest?: string;
}

const FIELDS = ["model", "version", "provider", "digest"] as const;

export function approvedIdentity(version: ModelVersion): ApprovedIdentity {
  const { model, version: name, provider, digest } = version;
  return { model, version: name, provider, ...(digest === undefined ? {} : { digest }) };
}

/** @returns in words, in what a version is not what was approved; undefined where it is that */
export function identityProblem(approved: ApprovedIdentity, version: ModelVersion): string | undefined {
  const field = FIELDS.find((each) => approved[each] !== undefined && approved[each] !== version[each]);
  if (field === undefined) return undefined;
  return `approved was ${field} ${approved[field]}, and ${version.key} has ${version[field] ?? "none"}`;
}

/** An approval is of what was looked at: an object that stands for something else since does not inherit it. */
export function checkApprovedIdentities(inventory: Inventory, tree: TreePlaces): void {
  const pinned = inventory.approvals.filter(({ identity }) => identity !== undefined);
  if (pinned.length === 0) return;
  const versions = new Map(inventory.modelVersions.map((version) => [version.key, version]));
  for (const approval of pinned) {
    const version = versions.get(approval.version);
    if (version === undefined || approval.identity === undefined) continue;
    const problem = identityProblem(approval.identity, version);
    if (problem === undefined) continue;
    const hint = "approve what it is now, or give the new one an object of its own";
    tree.error("identity-changed", "Approval", approval, ["spec", "identity"], problem, hint);
  }
}
