import { ExpressionChecks } from "../policy/index.ts";
import type { HTTPRoute, Inventory, Key, Positions, Problem, Secret } from "../resources/index.ts";
import { checkCredentialModes } from "./credential-modes.ts";
import { byKey } from "./facts.ts";
import { GroupCache } from "./group-cache.ts";
import { type Jwks, tokenIssuers } from "./jwt.ts";
import { checkMirrors } from "./mirrors.ts";
import { compileNodeGroup, type GroupSources } from "./node-group.ts";
import { checkPathConflicts } from "./path-conflicts.ts";
import { policyProblems } from "./policy-problems.ts";
import { credentialHeaders, secretName } from "./pools.ts";
import { policyProgram } from "./program.ts";
import { ProgramCache } from "./program-cache.ts";
import type { RevisionParts, SecretReference } from "./revision-parts.ts";
import { tableContext } from "./route-table.ts";

export interface CompileOptions {
  /** Keys of the issuers, by source (`jwksSource`). */
  readonly jwks: Jwks;
  readonly positions: Locator;
  /** Of the trees before: what has not changed since is not compiled again. */
  readonly cache?: CompileCache;
}

/**
 * What trees were compiled to before. It relies on the objects of an inventory never changing; those that stay the same
 * objects (`ParseCache`) are taken as they were. What comes out is what comes out without it. Owned by one caller.
 */
export class CompileCache {
  readonly checks = new ExpressionChecks();
  readonly program = new ProgramCache();
  readonly groups = new GroupCache();
}

/** Where things were written (`Positions` of resources/). */
export type Locator = Pick<Positions, "locate" | "within">;

export interface CompileResult {
  readonly parts: RevisionParts;
  /** With an error among them the parts must not be published. */
  readonly problems: readonly Problem[];
}

/** Compiles an inventory. Pure: equal inventories give equal parts, byte for byte. */
export function compile(inventory: Inventory, options: CompileOptions): CompileResult {
  const { jwks, positions, cache = new CompileCache() } = options;
  const program = policyProgram(inventory, cache.program);
  const groups = compileGroups(inventory, jwks, cache.groups);
  const violations = groups.flatMap(({ gateway, compiled }) =>
    compiled.violations.map(
      (violation): Problem => ({
        severity: "error",
        code: "invalid-envoy-resource",
        message: `${violation.resource} would be rejected by Envoy: ${violation.path}: ${violation.message}`,
        scope: gateway.scope,
        at: positions.locate("Gateway", gateway.key, []) ?? { file: gateway.key, line: 1, column: 1 },
      }),
    ),
  );
  const result: CompileResult = {
    parts: {
      program,
      layouts: groups.flatMap(({ compiled }) => compiled.layouts),
      nodeGroups: groups.flatMap(({ compiled }) => compiled.groups),
      secrets: byKey(inventory.secrets).map(secretReference),
    },
    problems: [
      ...checkCredentialModes(inventory, positions),
      ...checkPathConflicts(inventory, positions),
      ...checkMirrors(inventory, positions),
      ...policyProblems(inventory, program, positions, cache),
      ...violations,
    ],
  };
  cache.program.endRound();
  cache.groups.endRound();
  return result;
}

function compileGroups(inventory: Inventory, jwks: Jwks, cache: GroupCache) {
  const { upstreams, deployments, applications, gateways } = inventory;
  const sources: GroupSources = {
    upstreams,
    deployments,
    context: tableContext(inventory, cache.contexts),
    removedHeaders: credentialHeaders(inventory),
    issuers: tokenIssuers(applications, jwks),
  };
  const routes = new Map(gateways.map(({ key }): [Key, HTTPRoute[]] => [key, []]));
  for (const route of inventory.httpRoutes) {
    for (const key of new Set(route.parents.map(({ gateway }) => gateway))) routes.get(key)?.push(route);
  }
  return byKey(gateways).map((gateway) => ({
    gateway,
    compiled: compileNodeGroup(gateway, routes.get(gateway.key) ?? [], sources, cache),
  }));
}

function secretReference(secret: Secret): SecretReference {
  const name = secretName(secret.key);
  switch (secret.type) {
    case "tls":
      return { name, type: "tls", certificateFile: secret.certificateFile, privateKeyFile: secret.privateKeyFile };
    case "ca":
      return { name, type: "ca", certificateFile: secret.certificateFile };
    case "opaque":
      return { name, type: "opaque", valueFile: secret.valueFile };
  }
}
