import type { Inventory, Problem } from "../resources/index.ts";
import type { Locator } from "./compile.ts";

/**
 * A hop whose deployment has a path of its own makes every hop set one (changes of one hop are seen by the next), and a
 * hop without one sets the path that the client sent: a rewrite of the rule would be lost on the way.
 */
export function checkPathConflicts(inventory: Inventory, positions: Locator): Problem[] {
  const versions = new Map(inventory.modelVersions.map((version) => [version.key, version.model]));
  const withPath = new Set(
    inventory.deployments.filter((deployment) => deployment.path !== undefined).map((d) => versions.get(d.version)),
  );
  const rules = inventory.httpRoutes.flatMap((route) => route.rules.map((rule, index) => ({ route, rule, index })));
  return rules.flatMap(({ route, rule, index }): Problem[] => {
    const rewrite = rule.filters.findIndex((filter) => filter.type === "URLRewrite" && filter.path !== undefined);
    const model = rule.backends.find((backend) => backend.kind === "Model" && withPath.has(backend.model));
    if (rewrite === -1 || model?.kind !== "Model") return [];
    return [
      {
        severity: "error",
        code: "path-conflict",
        message: `this rule rewrites the path, and deployments of model "${model.model}" have paths of their own`,
        hint: "leave out the rewrite, or spec.path of the deployments",
        scope: route.scope,
        at: positions.locate("HTTPRoute", route.key, ["spec", "rules", index, "filters", rewrite]) ?? {
          file: route.key,
          line: 1,
          column: 1,
        },
      },
    ];
  });
}
