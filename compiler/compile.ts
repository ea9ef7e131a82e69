import type { ExpressionChecks } from "../policy/index.ts";
import type { Inventory, Positions, Problem, Secret } from "../resources/index.ts";
import { checkCredentialModes } from "./credential-modes.ts";
import { byKey } from "./facts.ts";
import type { Jwks } from "./jwt.ts";
import { checkMirrors } from "./mirrors.ts";
import { compileNodeGroup } from "./node-group.ts";
import { checkPathConflicts } from "./path-conflicts.ts";
import { policyProblems } from "./policy-problems.ts";
import { secretName } from "./pools.ts";
import { policyProgram } from "./program.ts";
import type { RevisionParts, SecretReference } from "./revision-parts.ts";
import { tableContext } from "./route-table.ts";

export interface CompileOptions {
  /** Keys of the issuers, by source (`jwksSource`). */
  readonly jwks: Jwks;
  readonly positions: Locator;
  /** Of the tree before, so that only expressions that are new are checked. */
  readonly checks?: ExpressionChecks;
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
  const context = tableContext(inventory);
  const program = policyProgram(inventory);
  const groups = byKey(inventory.gateways).map((gateway) => ({
    gateway,
    compiled: compileNodeGroup(gateway, inventory, context, options.jwks),
  }));
  const violations = groups.flatMap(({ gateway, compiled }) =>
    compiled.violations.map(
      (violation): Problem => ({
        severity: "error",
        code: "invalid-envoy-resource",
        message: `${violation.resource} would be rejected by Envoy: ${violation.path}: ${violation.message}`,
        scope: gateway.scope,
        at: options.positions.locate("Gateway", gateway.key, []) ?? { file: gateway.key, line: 1, column: 1 },
      }),
    ),
  );
  return {
    parts: {
      program,
      layouts: groups.flatMap(({ compiled }) => compiled.layouts),
      nodeGroups: groups.flatMap(({ compiled }) => compiled.groups),
      secrets: byKey(inventory.secrets).map(secretReference),
    },
    problems: [
      ...checkCredentialModes(inventory, options.positions),
      ...checkPathConflicts(inventory, options.positions),
      ...checkMirrors(inventory, options.positions),
      ...policyProblems(inventory, program, options.positions, options.checks),
      ...violations,
    ],
  };
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
