/**
 * In: an `Inventory`. Out: `RevisionParts`: Envoy resources per node group, layouts, the policy program with its target
 * table. Promises: deterministic, validated against the rules that Envoy's protos carry, and no change of a policy,
 * application, model, upstream or key changes a Listener.
 */

export { type ApprovalSources, ruledApprovals } from "./approval-rules.ts";
export { CompileCache, type CompileOptions, type CompileResult, compile, type Locator } from "./compile.ts";
export { fedEndpoints } from "./fed-endpoints.ts";
export { groupLayouts } from "./group-layout.ts";
export { gatewayOfGroup, reducedGroupName, ungovernedGroupName } from "./group-names.ts";
export { type Jwks, jwksSource } from "./jwt.ts";
export { lawRuleId } from "./law-rules.ts";
export type * from "./revision-parts.ts";
export { wholeGroups } from "./whole-groups.ts";
