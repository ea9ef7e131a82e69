import type { Authored } from "../authored.ts";
import type { ApprovalRule, Key } from "../inventory.ts";
import { isWithin, scopeOf } from "../resource-files.ts";
import type { Reference } from "../schema/fields.ts";
import type { Path } from "../yaml-document.ts";
import { type Linking, metaOf } from "./linking.ts";
import { checkValidity } from "./validity.ts";

const NOUNS = { Model: "a model", ModelVersion: "a version", Application: "an application" } as const;

export function resolveApprovalRule(object: Authored<"ApprovalRule">, linking: Linking): ApprovalRule | undefined {
  const { references, problems } = linking;
  const { model, versions, applications, applicationLabels, validFor, ...spec } = object.spec;
  checkValidity(object, spec, ["spec"], linking);
  const named = (kind: keyof typeof NOUNS, reference: Reference, at: Path): Key[] => {
    const key = references.upwards(object, kind, reference, at);
    if (key === undefined) return [];
    const owner = scopeOf(key);
    if (isWithin(owner, object.scope)) return [key];
    // As for an Approval: else a team could approve what is not its own.
    const message = `an approval rule in scope "${object.scope}" cannot speak for ${NOUNS[kind]} of "${owner}"`;
    problems.error(object, at, "not-allowed", message, `move it to scope "${owner}" or above it`);
    return [];
  };
  const one = (first: unknown, second: unknown, message: string): void => {
    if ((first === undefined) === (second === undefined)) {
      problems.error(object, ["spec"], "invalid-value", message, "write one of the two");
    }
  };
  one(model, versions, "an approval rule is about one of model and versions");
  one(applications, applicationLabels, "an approval rule has one of applications and applicationLabels");
  const each = (kind: keyof typeof NOUNS, list: readonly Reference[], field: string): Key[] =>
    list.flatMap((reference, index) => named(kind, reference, ["spec", field, index]));
  const [modelKey] = model === undefined ? [] : named("Model", model, ["spec", "model"]);
  return {
    ...metaOf(object),
    ...spec,
    validForMs: validFor,
    ...(modelKey === undefined ? {} : { model: modelKey }),
    versions: each("ModelVersion", versions ?? [], "versions"),
    applications: each("Application", applications ?? [], "applications"),
    ...(applicationLabels === undefined ? {} : { applicationLabels }),
  };
}
