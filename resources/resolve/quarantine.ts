import type { Authored } from "../authored.ts";
import type { Quarantine } from "../inventory.ts";
import { isWithin, scopeOf } from "../resource-files.ts";
import { type Linking, metaOf } from "./linking.ts";

type TargetRef = NonNullable<Authored<"Quarantine">["spec"]["targetRef"]>;

const KINDS = {
  ModelVersion: "version",
  Model: "model",
  Upstream: "upstream",
  Application: "application",
  Policy: "rule",
} as const;

export function resolveQuarantine(object: Authored<"Quarantine">, linking: Linking): Quarantine | undefined {
  const { problems } = linking;
  const { targetRef, region, reason, until } = object.spec;
  const rest = { ...metaOf(object), reason, ...(until === undefined ? {} : { until }) };
  if ((targetRef === undefined) === (region === undefined)) {
    const message = "a quarantine names one thing: targetRef or region";
    problems.error(object, ["spec"], "invalid-value", message, "write one of the two");
    return undefined;
  }
  if (targetRef === undefined) {
    if (object.scope !== ".") {
      const message = `a quarantine in scope "${object.scope}" cannot speak for a region`;
      problems.error(object, ["spec", "region"], "not-allowed", message, "move it to the root of the tree");
    }
    return { ...rest, kind: "region", value: region ?? "" };
  }
  const value = namedBy(object, targetRef, linking);
  return value === undefined ? undefined : { ...rest, kind: KINDS[targetRef.kind], value };
}

function namedBy(object: Authored<"Quarantine">, targetRef: TargetRef, linking: Linking): string | undefined {
  const { references, problems } = linking;
  const { kind, rule } = targetRef;
  const at = ["spec", "targetRef"];
  const key = references.upwards(object, kind, targetRef, [...at, "name"]);
  if (key === undefined) return undefined;
  const owner = scopeOf(key);
  if (!isWithin(owner, object.scope)) {
    // Else one team could stop another's traffic.
    const message = `a quarantine in scope "${object.scope}" cannot speak for a ${kind} of "${owner}"`;
    problems.error(object, [...at, "name"], "not-allowed", message, `move it to scope "${owner}" or above it`);
  }
  if (kind !== "Policy") {
    if (rule === undefined) return key;
    problems.error(object, [...at, "rule"], "invalid-value", `a ${kind} has no rules`, "leave out rule");
    return undefined;
  }
  const rules = references.object("Policy", key)?.spec.rules;
  if (rule === undefined) {
    problems.error(object, at, "missing-field", "which rule of the Policy is not said", "write rule: <its id>");
    return undefined;
  }
  if (rules !== undefined && !rules.some(({ id }) => id === rule)) {
    const hint = `its rules: ${rules
      .map(({ id }) => id)
      .slice(0, 12)
      .join(", ")}`;
    problems.error(object, [...at, "rule"], "dangling-reference", `Policy "${key}" has no rule "${rule}"`, hint);
  }
  return `${key}/${rule}`;
}
