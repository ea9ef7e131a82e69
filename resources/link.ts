import type { AnyAuthored, AuthoredPart } from "./authored.ts";
import type { Inventory, Scope } from "./inventory.ts";
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
import { Resolver } from "./resolver.ts";
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

/**
 * From authored objects to the inventory. Remembers how objects were resolved; what comes out is what one that remembers
 * nothing makes of the same objects.
 */
export class Linker {
  readonly #gateways = new Resolver("Gateway", resolveGateway);
  readonly #httpRoutes = new Resolver("HTTPRoute", resolveHttpRoute);
  readonly #secrets = new Resolver("Secret", resolveSecret);
  readonly #upstreams = new Resolver("Upstream", resolveUpstream);
  readonly #models = new Resolver("Model", resolveModel);
  readonly #modelVersions = new Resolver("ModelVersion", resolveModelVersion);
  readonly #deployments = new Resolver("Deployment", resolveDeployment);
  readonly #applications = new Resolver("Application", resolveApplication);
  readonly #approvals = new Resolver("Approval", resolveApproval);
  readonly #approvalRules = new Resolver("ApprovalRule", resolveApprovalRule);
  readonly #policies = new Resolver("Policy", resolvePolicy);
  readonly #lawPacks = new Resolver("LawPack", resolveLawPack);
  readonly #rollouts = new Resolver("Rollout", resolveRollout);
  readonly #experiments = new Resolver("Experiment", resolveExperiment);
  readonly #quarantines = new Resolver("Quarantine", resolveQuarantine);
  readonly #policyTests = new Resolver("PolicyTest", resolvePolicyTest);

  link({ declarations, objects, problems: earlier }: AuthoredPart): LoadResult {
    const problems = new ProblemList();
    problems.push(...earlier);
    const index = new Map(objects.map((object): [string, AnyAuthored] => [`${object.kind} ${object.key}`, object]));
    const byKind = Map.groupBy(objects, ({ kind }) => kind);
    const references = new References(declarations, index, problems);
    const linking: Linking = { references, problems };
    const inventory: Inventory = {
      gateways: this.#gateways.all(byKind, linking),
      httpRoutes: this.#httpRoutes.all(byKind, linking),
      secrets: this.#secrets.all(byKind, linking),
      upstreams: this.#upstreams.all(byKind, linking),
      models: this.#models.all(byKind, linking),
      modelVersions: this.#modelVersions.all(byKind, linking),
      deployments: this.#deployments.all(byKind, linking),
      applications: this.#applications.all(byKind, linking),
      approvals: this.#approvals.all(byKind, linking),
      approvalRules: this.#approvalRules.all(byKind, linking),
      policies: this.#policies.all(byKind, linking),
      lawPacks: this.#lawPacks.all(byKind, linking),
      rollouts: this.#rollouts.all(byKind, linking),
      experiments: this.#experiments.all(byKind, linking),
      quarantines: this.#quarantines.all(byKind, linking),
      policyTests: this.#policyTests.all(byKind, linking),
    };
    checkTree(inventory, index, problems);
    return {
      inventory,
      problems: problems.sorted(),
      positions: locatePositions(index),
      files: references.files,
      dependencies: references.dependencies,
    };
  }
}
