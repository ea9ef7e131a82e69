import type {
  ApprovalFacts,
  ExperimentFacts,
  ModelFacts,
  ModelTarget,
  PolicyProgram,
  ProgramRule,
  Restriction,
  RolloutFacts,
  Target,
} from "../policy/index.ts";
import type {
  Approval,
  Deployment,
  Experiment,
  Inventory,
  Key,
  Model,
  ModelVersion,
  Policy,
  Rollout,
  Upstream,
} from "../resources/index.ts";
import { approvalsOfRules } from "./approval-rules.ts";
import { applicationFacts, byKey, versionAges, versionFacts } from "./facts.ts";
import { adequateCountries, lawRules } from "./law-rules.ts";
import type { ProgramCache } from "./program-cache.ts";

/** Pool of a deployment: name of its cluster and priority group. */
export function modelPoolName(deployment: Key): string {
  return `model/${deployment}`;
}

/** Pool of an upstream on plain routes. */
export function upstreamPoolName(upstream: Key): string {
  return `upstream/${upstream}`;
}

/** The policy part: rules and the facts they read. Order follows keys, so that equal inventories compile equally. */
export function policyProgram(inventory: Inventory, cache: ProgramCache): PolicyProgram {
  const splits = [...byKey(inventory.rollouts).map(rolloutFacts), ...byKey(inventory.experiments).map(experimentFacts)];
  return {
    rules: [
      ...byKey(inventory.policies).flatMap((policy) => cache.rules.of(policy, policyRules)),
      ...byKey(inventory.lawPacks).flatMap((pack) => cache.rules.of(pack, lawRules)),
    ],
    applications: byKey(inventory.applications).map((each) => cache.applications.of(each, applicationFacts)),
    models: byKey(inventory.models).map((model) => cache.models.of(model, modelFacts)),
    targets: targetsOf(inventory, cache),
    approvals: [
      ...byKey(inventory.approvals).map((approval) => cache.approvals.of(approval, approvalFacts)),
      ...approvalsOfRules(inventory, cache.ruled).approvals,
    ],
    ...adequateCountries(inventory.lawPacks),
    ...(splits.length === 0 ? {} : { splits }),
    ...(inventory.quarantines.length === 0 ? {} : { restrictions: restrictionsOf(inventory) }),
    observedGateways: byKey(inventory.gateways)
      .filter((gateway) => gateway.mode === "observe")
      .map((gateway) => gateway.key),
  };
}

function policyRules(policy: Policy): readonly ProgramRule[] {
  return policy.rules.map((rule) => ({
    ...rule,
    id: `${policy.key}/${rule.id}`,
    scope: policy.scope,
    ...(policy.target === undefined ? {} : { target: policy.target }),
  }));
}

function modelFacts({ key, scope, names, source, approval, labels }: Model): ModelFacts {
  return { key, scope, names, source, approval, labels };
}

function approvalFacts(approval: Approval): ApprovalFacts {
  const { key, version, application, jurisdictions, conditions, validFrom, validUntil } = approval;
  return {
    ...{ key, version, application, jurisdictions },
    ...(conditions.length === 0 ? {} : { conditions }),
    ...(validFrom === undefined ? {} : { validFrom }),
    ...(validUntil === undefined ? {} : { validUntil }),
  };
}

function targetsOf(inventory: Inventory, { targets, ages }: ProgramCache): readonly Target[] {
  const versions = new Map(inventory.modelVersions.map((version) => [version.key, version]));
  const upstreams = new Map(inventory.upstreams.map((upstream) => [upstream.key, upstream]));
  const ageOf = ages.of("", inventory.modelVersions, () => versionAges(inventory.modelVersions));
  const modelTargets = byKey(inventory.deployments).flatMap((deployment): Target[] => {
    const version = versions.get(deployment.version);
    const upstream = upstreams.get(deployment.upstream);
    if (version === undefined || upstream === undefined) return [];
    const pool = modelPoolName(deployment.key);
    const age = ageOf.get(version.key) ?? 0;
    return [
      targets.of(pool, [deployment, version, upstream, age], () => ({
        pool,
        kind: "model",
        upstream: upstream.key,
        labels: { ...upstream.labels, ...version.labels, ...deployment.labels },
        credential: upstream.credential.mode,
        ...feedOf(upstream),
        model: modelTarget(deployment, version, age),
      })),
    ];
  });
  const plainTargets = byKey(inventory.upstreams).map((upstream) => {
    const pool = upstreamPoolName(upstream.key);
    return targets.of(pool, [upstream], () => ({
      pool,
      kind: "upstream",
      upstream: upstream.key,
      labels: upstream.labels,
      credential: upstream.credential.mode,
      ...(upstream.governed === undefined ? {} : { governed: upstream.governed }),
      ...feedOf(upstream),
    }));
  });
  return [...modelTargets, ...plainTargets];
}

/** Where and by what its endpoints may be fed. */
function feedOf({ ranges, dns }: Upstream): Pick<Target, "ranges" | "dns"> {
  return { ...(ranges === undefined ? {} : { ranges }), ...(dns === undefined ? {} : { dns }) };
}

function splitMembers(split: Rollout | Experiment) {
  const { key, scope, model, when, stickyKey, salt, holdout } = split;
  return {
    key,
    scope,
    model,
    ...(when === undefined ? {} : { when }),
    ...(stickyKey === undefined ? {} : { stickyKey }),
    salt,
    holdout,
  };
}

function rolloutFacts(rollout: Rollout): RolloutFacts {
  const { to, from, steps, step, segments, mirror } = rollout;
  const share = step === 0 ? 0 : (steps[step - 1] ?? 0);
  return {
    kind: "Rollout",
    ...splitMembers(rollout),
    to,
    ...(from === undefined ? {} : { from }),
    share,
    segments,
    ...(mirror === undefined ? {} : { mirror }),
  };
}

function experimentFacts(experiment: Experiment): ExperimentFacts {
  const { arms, share, validFrom, validUntil } = experiment;
  return {
    kind: "Experiment",
    ...splitMembers(experiment),
    arms,
    share,
    ...(validFrom === undefined ? {} : { validFrom }),
    ...(validUntil === undefined ? {} : { validUntil }),
  };
}

function restrictionsOf(inventory: Inventory): Restriction[] {
  return byKey(inventory.quarantines).map(({ key, kind, value, reason, until }) => ({
    id: `quarantine/${key}`,
    kind,
    value,
    reason,
    ...(until === undefined ? {} : { until }),
  }));
}

function modelTarget(deployment: Deployment, version: ModelVersion, age: number): ModelTarget {
  return {
    ...versionFacts(version, age),
    deployment: deployment.key,
    region: deployment.region,
    country: deployment.country,
    api: deployment.api,
    wireName: deployment.wireName,
    ...(deployment.path === undefined ? {} : { path: deployment.path }),
    weight: deployment.weight,
    ...(deployment.latencyMs === undefined ? {} : { latencyMs: deployment.latencyMs }),
    ...(deployment.cost === undefined ? {} : { cost: deployment.cost }),
    ...(deployment.capacity === undefined ? {} : { capacity: deployment.capacity }),
    ...(deployment.subprocessors.length === 0 ? {} : { subprocessors: deployment.subprocessors }),
    ...(deployment.agreements.length === 0 ? {} : { agreements: deployment.agreements }),
    ...(deployment.safeguards.length === 0 ? {} : { safeguards: deployment.safeguards }),
  };
}
