import type { Authored } from "../authored.ts";
import type { Policy, Rule, RuleEffect } from "../inventory.ts";
import type { Specs } from "../kinds.ts";
import { isWithin, scopeOf } from "../resource-files.ts";
import type { Path } from "../yaml-document.ts";
import { type Linking, metaOf } from "./linking.ts";

type RuleSpec = Specs["Policy"]["rules"][number];

/** The one field that an effect needs beyond `when`; no other effect may carry it. */
const NEEDS: Readonly<Partial<Record<RuleEffect, "require" | "to" | "score">>> = {
  restrict: "require",
  reroute: "to",
  prefer: "score",
};

export function resolvePolicy(object: Authored<"Policy">, linking: Linking): Policy | undefined {
  const { problems } = linking;
  const ids = new Set<string>();
  for (const [index, { id }] of object.spec.rules.entries()) {
    if (ids.has(id)) {
      const message = `two rules of this policy have the id "${id}"`;
      problems.error(object, ["spec", "rules", index, "id"], "conflict", message, "records tell rules apart by it");
    }
    ids.add(id);
  }
  const rules = object.spec.rules.map((rule, index) => resolveRule(object, rule, ["spec", "rules", index], linking));
  const { targetRef } = object.spec;
  if (targetRef === undefined) return { ...metaOf(object), rules };
  const target = targetOf(object, targetRef, linking);
  return target === undefined ? undefined : { ...metaOf(object), target, rules };
}

function targetOf(
  object: Authored<"Policy">,
  targetRef: NonNullable<Specs["Policy"]["targetRef"]>,
  { references, problems }: Linking,
): Policy["target"] {
  const { group, kind } = targetRef;
  const expected = kind === "Model" ? "chancery.dev" : "gateway.networking.k8s.io";
  if (group !== undefined && group !== expected) {
    const hint = `write group: ${expected}, or leave it out`;
    problems.error(object, ["spec", "targetRef", "group"], "invalid-value", `${kind} is of group ${expected}`, hint);
  }
  const key = references.upwards(object, kind, targetRef, ["spec", "targetRef", "name"]);
  if (key === undefined) return undefined;
  const owner = scopeOf(key);
  if (!isWithin(owner, object.scope)) {
    // It would bind, or let in, callers that the author has no say over.
    const message = `a policy in scope "${object.scope}" cannot be attached to a ${kind} of "${owner}"`;
    const hint = `move it to scope "${owner}" or above it; without targetRef it binds the applications of its own scope`;
    problems.error(object, ["spec", "targetRef", "name"], "not-allowed", message, hint);
  }
  return { kind, key };
}

function resolveRule(object: Authored<"Policy">, rule: RuleSpec, at: Path, linking: Linking): Rule {
  const { problems } = linking;
  const { effect } = rule;
  const needed = NEEDS[effect];
  for (const field of ["require", "to", "score"] as const) {
    if (field === needed && rule[field] === undefined) {
      problems.error(object, [...at, field], "missing-field", `a rule of effect ${effect} needs "${field}"`);
    } else if (field !== needed && rule[field] !== undefined) {
      const owner = Object.entries(NEEDS).find(([, name]) => name === field)?.[0];
      const message = `a rule of effect ${effect} has no "${field}"`;
      problems.errorAtKey(object, [...at, field], "conflict", message, `only ${owner} has it`);
    }
  }
  if ((effect === "deny" || effect === "restrict") && rule.reason === "") {
    const hint = "write reason: it is what refused callers are told";
    problems.warning(object, [...at, "reason"], "missing-reason", `rule "${rule.id}" refuses without a reason`, hint);
  }
  const { to, ...rest } = rule;
  return to === undefined ? rest : { ...rest, to: destinationOf(object, to, [...at, "to"], linking) };
}

function destinationOf(
  object: Authored<"Policy">,
  to: NonNullable<RuleSpec["to"]>,
  at: Path,
  { references, problems }: Linking,
): NonNullable<Rule["to"]> {
  const { model, version, upstream } = to;
  if ([model, version, upstream].filter((reference) => reference !== undefined).length !== 1) {
    problems.error(object, at, "conflict", "a reroute goes to exactly one of model, version and upstream");
    return {};
  }
  const modelKey = model && references.upwards(object, "Model", model, [...at, "model"]);
  const versionKey = version && references.upwards(object, "ModelVersion", version, [...at, "version"]);
  const upstreamKey = upstream && references.upwards(object, "Upstream", upstream, [...at, "upstream"]);
  return {
    ...(modelKey === undefined ? {} : { model: modelKey }),
    ...(versionKey === undefined ? {} : { version: versionKey }),
    ...(upstreamKey === undefined ? {} : { upstream: upstreamKey }),
  };
}
