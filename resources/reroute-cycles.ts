import type { Inventory, Key, Policy } from "./inventory.ts";
import type { TreePlaces } from "./tree-places.ts";
import type { Path } from "./yaml-document.ts";

interface Step {
  readonly from: Key;
  readonly to: Key;
  readonly policy: Policy;
  readonly at: Path;
}

/**
 * Circles that every request for a model runs into: enforced reroute rules without `when`, on policies whose target
 * is a Model, that lead back to it. Circles that depend on a condition can be seen only where rules are evaluated.
 */
export function checkRerouteCycles(inventory: Inventory, tree: TreePlaces): void {
  const models = new Map(inventory.modelVersions.map(({ key, model }) => [key, model]));
  const steps = new Map<Key, Step>();
  for (const policy of inventory.policies) {
    if (policy.target?.kind !== "Model") continue;
    for (const [index, rule] of policy.rules.entries()) {
      if (rule.effect !== "reroute" || rule.mode !== "enforce" || rule.when !== undefined) continue;
      const to = rule.to?.model ?? (rule.to?.version === undefined ? undefined : models.get(rule.to.version));
      // Another version of the same model is where the way ends, and the first rule without condition wins.
      const stays = rule.to?.version !== undefined && to === policy.target.key;
      if (to === undefined || stays || steps.has(policy.target.key)) continue;
      steps.set(policy.target.key, { from: policy.target.key, to, policy, at: ["spec", "rules", index, "to"] });
    }
  }
  const done = new Set<Key>();
  for (const start of steps.keys()) {
    const way: Key[] = [];
    for (let at: Key | undefined = start; at !== undefined && !done.has(at); at = steps.get(at)?.to) {
      done.add(at);
      way.push(at);
    }
    const last = steps.get(way.at(-1) ?? "");
    const back = last === undefined ? -1 : way.indexOf(last.to);
    if (last === undefined || back < 0) continue;
    const circle = [...way.slice(back), last.to].map((key) => `"${key}"`).join(" → ");
    tree.error(
      "reroute-cycle",
      "Policy",
      last.policy,
      last.at,
      `this reroute closes a circle: ${circle}`,
      "end it at a model",
    );
  }
}
