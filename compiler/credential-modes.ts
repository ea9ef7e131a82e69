import type { Inventory, Problem } from "../resources/index.ts";
import type { Locator } from "./compile.ts";

/**
 * Header changes of one hop are seen by the next. Where one backend takes the client's own Authorization and another
 * has it removed or replaced, a retry would carry the wrong one.
 */
export function checkCredentialModes(inventory: Inventory, positions: Locator): Problem[] {
  const upstreams = new Map(inventory.upstreams.map((upstream) => [upstream.key, upstream]));
  const rules = inventory.httpRoutes.flatMap((route) => route.rules.map((rule, index) => ({ route, rule, index })));
  return rules.flatMap(({ route, rule, index }) => {
    const modes = rule.backends.map((backend) =>
      backend.kind === "Upstream" ? upstreams.get(backend.upstream)?.credential.mode === "passThrough" : undefined,
    );
    const first = modes.find((mode) => mode !== undefined);
    const other = modes.findIndex((mode) => mode !== undefined && mode !== first);
    if (other === -1) return [];
    return [
      {
        severity: "error" as const,
        code: "credential-conflict",
        message: "backends of one rule differ in whether the client's own Authorization is passed on",
        hint: "set the same spec.credential.mode (passThrough, or none/inject) on all of them",
        scope: route.scope,
        at: positions.locate("HTTPRoute", route.key, ["spec", "rules", index, "backendRefs", other]) ?? {
          file: route.key,
          line: 1,
          column: 1,
        },
      },
    ];
  });
}
