import type { Authored } from "../authored.ts";
import type { Approval } from "../inventory.ts";
import { isWithin } from "../resource-files.ts";
import { type Linking, metaOf } from "./linking.ts";
import { checkValidity } from "./validity.ts";

export function resolveApproval(object: Authored<"Approval">, linking: Linking): Approval | undefined {
  const { references, problems } = linking;
  const { version: versionRef, application: applicationRef, ...spec } = object.spec;
  checkValidity(object, spec, ["spec"], linking);
  const version = references.upwards(object, "ModelVersion", versionRef, ["spec", "version"]);
  const application = references.upwards(object, "Application", applicationRef, ["spec", "application"]);
  const { namespace } = applicationRef;
  if (namespace !== undefined && !isWithin(namespace, object.scope) && !isWithin(object.scope, namespace)) {
    // Else one team could approve versions for another.
    const message = `an approval in scope "${object.scope}" cannot speak for an application of "${namespace}"`;
    const hint = `move it to scope "${namespace}" or above it`;
    problems.error(object, ["spec", "application"], "not-allowed", message, hint);
  }
  if (version === undefined || application === undefined) return undefined;
  return { ...metaOf(object), version, application, ...spec };
}
