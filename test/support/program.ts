import type { ApplicationFacts, ModelFacts, ModelTarget, ProgramRule, Target } from "../../policy/index.ts";

/** Plain parts of a policy program, as tests of policies and of decisions need them. */

export function applicationFacts(key: string, changes: Partial<ApplicationFacts> = {}): ApplicationFacts {
  return {
    key,
    scope: ".",
    mode: "enforce",
    purpose: "",
    riskTier: "limited",
    dataClasses: [],
    jurisdictions: [],
    minimumScores: [],
    durability: "strict",
    substitutes: [],
    apiKeys: [],
    jwt: [],
    anonymous: false,
    labels: {},
    ...changes,
  };
}

export function modelFacts(key: string, changes: Partial<ModelFacts> = {}): ModelFacts {
  return {
    key,
    scope: ".",
    names: [key],
    source: { type: "body", pointer: "/model" },
    approval: "notRequired",
    labels: {},
    ...changes,
  };
}

/** `modelTarget("m", 2)`: the deployment "m-2" of the version "m@2" of age 2. */
export function modelTarget(
  model: string,
  age: number,
  changes: Partial<ModelTarget> = {},
  target: Partial<Target> = {},
): Target {
  const deployment = changes.deployment ?? `${model}-${age}`;
  return {
    pool: `model/${deployment}`,
    kind: "model",
    upstream: "provider",
    labels: {},
    credential: "inject",
    ...target,
    model: {
      model,
      version: `${model}@${age}`,
      versionName: String(age),
      age,
      deployment,
      provider: "acme",
      maturity: "production",
      region: "eu-west-1",
      country: "IE",
      api: "openai-chat",
      wireName: `${model}-${age}`,
      weight: 1,
      trainingData: { gdprBasis: "consent" },
      certifications: [],
      scores: [],
      ...changes,
    },
  };
}

export function upstreamTarget(upstream: string, changes: Partial<Target> = {}): Target {
  return { pool: `upstream/${upstream}`, kind: "upstream", upstream, labels: {}, credential: "none", ...changes };
}

export function programRule(id: string, changes: Partial<ProgramRule> & Pick<ProgramRule, "effect">): ProgramRule {
  return { id, scope: ".", mode: "enforce", reason: `because of ${id}`, references: [], ...changes };
}
