import {
  applicationFacts,
  modelFacts,
  modelTarget,
  programRule as rule,
  upstreamTarget as withoutCredential,
} from "../test/support/program.ts";
import { compilePolicy } from "./decide.ts";
import type { Allow, DecisionInput, Deny, Subject, Verdict } from "./decision.ts";
import type { ApplicationFacts, PolicyProgram, Target } from "./program.ts";

/** Plain building blocks for the tests of this folder. */
export { modelFacts, modelTarget, rule };

export const NOW = Date.parse("2026-11-21T12:00:00Z");

export const APPLICATION = applicationFacts("bank/retail/chat", {
  scope: "bank/retail",
  purpose: "customer service",
  dataClasses: ["pii"],
  jurisdictions: ["EU"],
  labels: { tier: "gold" },
});

export function application(changes: Partial<ApplicationFacts> = {}): ApplicationFacts {
  return { ...APPLICATION, ...changes };
}

export const SUBJECT: Subject = {
  kind: "jwt",
  id: "user-1",
  claims: { sub: "user-1", groups: ["staff", "eu"], level: 3, nested: { team: "risk" } },
  fields: { region: "EU", tenant: "acme" },
};

export function upstreamTarget(upstream: string, changes: Partial<Target> = {}): Target {
  return withoutCredential(upstream, { credential: "passThrough", ...changes });
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
