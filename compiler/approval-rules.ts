import { type ApprovalFacts, type ApprovalRuleFacts, approvalsByRule } from "../policy/index.ts";
import { type ApprovalRule, type Inventory, type Key, type Scope, scopeChain } from "../resources/index.ts";
import { applicationFacts, byKey, versionAges, versionFacts } from "./facts.ts";
import { Made } from "./made.ts";

/** What approvals by rule are made of. */
export type ApprovalSources = Pick<Inventory, "approvalRules" | "modelVersions" | "applications">;

/** Rules, and the approvals that they give. */
export interface RuledApprovals {
  readonly rules: readonly ApprovalRuleFacts[];
  readonly approvals: readonly (ApprovalFacts & { readonly rule: Key })[];
}

const NONE: RuledApprovals = { rules: [], approvals: [] };

/** By the facts that stand in the tree; no clock is read. */
export function approvalsOfRules(inventory: ApprovalSources, made: Made<RuledApprovals>): RuledApprovals {
  const { approvalRules, modelVersions, applications } = inventory;
  if (approvalRules.length === 0) return NONE;
  return made.of("", [...approvalRules, ...modelVersions, ...applications], () => {
    const rules = approvalRuleFacts(inventory);
    const approvals = rules.flatMap((rule) =>
      approvalsByRule(rule).map((approval) => ({ ...approval, rule: rule.key })),
    );
    return { rules, approvals };
  });
}

/** The rules with the versions and applications that they speak for: those of their own scope or below. */
function approvalRuleFacts(inventory: ApprovalSources): readonly ApprovalRuleFacts[] {
  const ages = versionAges(inventory.modelVersions);
  const versions = byKey(inventory.modelVersions);
  const applications = byKey(inventory.applications);
  return byKey(inventory.approvalRules).map((rule) => {
    const { key, scope, jurisdictions, when, conditions, validForMs, validFrom, validUntil } = rule;
    const own = <T extends { readonly key: Key; readonly scope: Scope }>(
      objects: readonly T[],
      isMeant: (object: T) => boolean,
    ) => objects.filter((object) => scopeChain(object.scope).includes(scope) && isMeant(object));
    const [named, callers] = [new Set(rule.versions), new Set(rule.applications)];
    return {
      key,
      scope,
      versions: own(versions, (each) =>
        rule.model === undefined ? named.has(each.key) : each.model === rule.model,
      ).map((version) => ({ ...versionFacts(version, ages.get(version.key) ?? 0), labels: version.labels })),
      applications: own(applications, (each) =>
        rule.applicationLabels === undefined ? callers.has(each.key) : carries(each.labels, rule.applicationLabels),
      ).map(applicationFacts),
      jurisdictions,
      when,
      conditions,
      validForMs,
      ...(validFrom === undefined ? {} : { validFrom }),
      validUntil,
    };
  });
}

function carries(
  labels: Readonly<Record<string, string>>,
  wanted: NonNullable<ApprovalRule["applicationLabels"]>,
): boolean {
  return Object.entries(wanted).every(([name, value]) => Object.hasOwn(labels, name) && labels[name] === value);
}

/** Every approval that the rules of a tree give. */
export function ruledApprovals(inventory: ApprovalSources): RuledApprovals["approvals"] {
  return approvalsOfRules(inventory, new Made()).approvals;
}
