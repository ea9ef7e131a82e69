import { compilePolicy } from "./decide.ts";
import type { Allow, DecisionInput, Deny, Subject, Verdict } from "./decision.ts";
import type { ApplicationFacts, ModelFacts, ModelTarget, PolicyProgram, ProgramRule, Target } from "./program.ts";

/** Plain building blocks for the tests of this folder. */

export const NOW = Date.parse("2026-11-21T12:00:00Z");

export const APPLICATION: ApplicationFacts = {
  key: "bank/retail/chat",
  scope: "bank/retail",
  mode: "enforce",
  purpose: "customer service",
  riskTier: "limited",
  dataClasses: ["pii"],
  jurisdictions: ["EU"],
  minimumScores: [],
  durability: "strict",
  substitutes: [],
  apiKeys: [],
  jwt: [],
  anonymous: false,
  labels: { tier: "gold" },
};

export function application(changes: Partial<ApplicationFacts> = {}): ApplicationFacts {
  return { ...APPLICATION, ...changes };
}

export const SUBJECT: Subject = {
  kind: "jwt",
  id: "user-1",
  claims: { sub: "user-1", groups: ["staff", "eu"], level: 3, nested: { team: "risk" } },
  fields: { region: "EU", tenant: "acme" },
};

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
  return {
    pool: `upstream/${upstream}`,
    kind: "upstream",
    upstream,
    labels: {},
    credential: "passThrough",
    ...changes,
  };
}

export function rule(id: string, changes: Partial<ProgramRule> & Pick<ProgramRule, "effect">): ProgramRule {
  return { id, scope: ".", mode: "enforce", reason: `because of ${id}`, references: [], ...changes };
}

export const ALLOW_ALL = rule("allow-all", { effect: "allow" });

export function program(changes: Partial<PolicyProgram> = {}): PolicyProgram {
  const targets = changes.targets ?? [];
  const models = [...new Set(targets.flatMap((target) => target.model?.model ?? []))];
  return {
    rules: [ALLOW_ALL],
    applications: [APPLICATION],
    models: models.map((key) => modelFacts(key)),
    targets,
    approvals: [],
    ...changes,
  };
}

export function input(changes: Partial<DecisionInput> = {}): DecisionInput {
  return {
    request: {
      method: "POST",
      scheme: "https",
      host: "ai.acme.example",
      path: "/v1/chat/completions?trace=1",
      url_path: "/v1/chat/completions",
      query: "trace=1",
      protocol: "HTTP/2",
      id: "11111111-2222-3333-4444-555555555555",
      size: 512,
      time: NOW - 5,
      headers: new Map([
        ["x-team", ["risk"]],
        ["x-role", ["user", "admin"]],
      ]),
    },
    source: { address: "10.1.2.3", port: 40_000 },
    destination: { address: "10.0.0.1", port: 10_000 },
    connection: { mtls: true, requested_server_name: "ai.acme.example" },
    metadata: { "envoy.filters.http.jwt_authn": { claims: { sub: "user-1" } } },
    xds: { route: "bank/chat/0/0", layout: "abc" },
    subject: SUBJECT,
    application: APPLICATION,
    gateway: "edge",
    httpRoute: "bank/chat",
    requested: { stream: false },
    candidates: [],
    models: [],
    now: NOW,
    draw: 0,
    ...changes,
  };
}

/** Asks for `model` where `targets` are all that there is. */
export function modelInput(
  model: string,
  targets: readonly Target[],
  changes: Partial<DecisionInput> = {},
): DecisionInput {
  const models = [...new Set(targets.flatMap((target) => target.model?.model ?? []))];
  return input({ requested: { modelName: model, model, stream: false }, candidates: targets, models, ...changes });
}

/** The verdict of a program that knows the request's candidates; without rules of its own it allows all. */
export function decide(changes: Partial<PolicyProgram>, request: DecisionInput): Verdict {
  return compilePolicy(program({ targets: request.candidates, ...changes })).decide(request);
}
export function allowed(verdict: Verdict): Allow {
  if (verdict.effect === "deny") throw new Error(`denied: ${verdict.code} ${verdict.rule} ${verdict.reason}`);
  return verdict;
}
export function denied(verdict: Verdict): Deny {
  if (verdict.effect === "allow") throw new Error(`allowed by ${verdict.rule}`);
  return verdict;
}
export function pools(verdict: Verdict): readonly string[] {
  return allowed(verdict).targets.map(({ pool }) => pool);
}
/** Pool → what removed it. */
export function removals(verdict: Verdict): Readonly<Record<string, string>> {
  return Object.fromEntries(verdict.removed.map(({ pool, rule: by }) => [pool, by]));
}

export const WEB = [upstreamTarget("web")];
/** A request on a plain route with one backend. */
export const PLAIN = input({ candidates: WEB });
