import type { Gateway, HTTPRoute, Inventory, Problem } from "../resources/index.ts";
import type { CompileOptions } from "./compile.ts";

/** What is right by itself but cannot be compiled together. */
export function checkCombinations(inventory: Inventory, options: Pick<CompileOptions, "locate">): Problem[] {
  return [
    ...inventory.gateways.flatMap((gateway) => portConflicts(gateway, options)),
    ...inventory.httpRoutes.flatMap((route) => [
      ...modelSources(route, inventory, options),
      ...credentialModes(route, inventory, options),
    ]),
  ];
}

function portConflicts(gateway: Gateway, options: Pick<CompileOptions, "locate">): Problem[] {
  const protocols = new Map<number, string>();
  return gateway.listeners.flatMap((listener, index): Problem[] => {
    const first = protocols.get(listener.port) ?? listener.protocol;
    protocols.set(listener.port, first);
    if (first === listener.protocol) return [];
    return [
      {
        severity: "error",
        code: "port-conflict",
        message: `listener "${listener.name}" wants ${listener.protocol} on port ${listener.port}, which an earlier listener uses for ${first}`,
        hint: "give HTTP and HTTPS listeners ports of their own",
        scope: gateway.scope,
        at: options.locate("Gateway", gateway.key, ["spec", "listeners", index, "port"]),
      },
    ];
  });
}

/** Envoy is told once per rule whether to send the body, and the scanner where to look: the rule's models must agree. */
function modelSources(route: HTTPRoute, inventory: Inventory, options: Pick<CompileOptions, "locate">): Problem[] {
  const models = new Map(inventory.models.map((model) => [model.key, model]));
  return route.rules.flatMap((rule, ruleIndex) => {
    const named = rule.backends.map((backend) => (backend.kind === "Model" ? models.get(backend.model) : undefined));
    const first = named.find((model) => model !== undefined);
    return named.flatMap((model, index): Problem[] => {
      const at = options.locate("HTTPRoute", route.key, ["spec", "rules", ruleIndex, "backendRefs", index]);
      if (model === undefined || first === undefined) return [];
      if (model.source.type === "route" && named.length > 1) {
        return [
          {
            severity: "error",
            code: "model-source-conflict",
            message: `model "${model.key}" is found by its route alone, but this rule offers ${named.length} models`,
            hint: "give each such model a rule of its own",
            scope: route.scope,
            at,
          },
        ];
      }
      if (JSON.stringify(model.source) === JSON.stringify(first.source)) return [];
      return [
        {
          severity: "error",
          code: "model-source-conflict",
          message: `models "${first.key}" and "${model.key}" of one rule are found in different places of a request`,
          hint: "give them the same spec.source, or rules of their own",
          scope: route.scope,
          at,
        },
      ];
    });
  });
}

/**
 * Header changes of one hop are seen by the next. Where one backend takes the client's own Authorization and another
 * has it removed or replaced, a retry would carry the wrong one.
 */
function credentialModes(route: HTTPRoute, inventory: Inventory, options: Pick<CompileOptions, "locate">): Problem[] {
  const upstreams = new Map(inventory.upstreams.map((upstream) => [upstream.key, upstream]));
  return route.rules.flatMap((rule, ruleIndex) => {
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
        at: options.locate("HTTPRoute", route.key, ["spec", "rules", ruleIndex, "backendRefs", other]),
      },
    ];
  });
}
