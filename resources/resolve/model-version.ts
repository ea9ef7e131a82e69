import type { Authored } from "../authored.ts";
import type { ModelVersion } from "../inventory.ts";
import { type Linking, metaOf } from "./linking.ts";
import { checkValidity } from "./validity.ts";

export function resolveModelVersion(object: Authored<"ModelVersion">, linking: Linking): ModelVersion | undefined {
  const { model: reference, ...spec } = object.spec;
  for (const [index, certification] of spec.certifications.entries()) {
    checkValidity(object, certification, ["spec", "certifications", index], linking);
  }
  const model = linking.references.upwards(object, "Model", reference, ["spec", "model"]);
  return model === undefined ? undefined : { ...metaOf(object), model, ...spec };
}
