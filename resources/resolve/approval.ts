import type { Authored } from "../authored.ts";
import type { Approval } from "../inventory.ts";
import { isWithin, scopeOf } from "../resource-files.ts";
import { type Linking, metaOf } from "./linking.ts";
import { checkValidity } from "./validity.ts";

export function resolveApproval(object: Authored<"Approval">, linking: Linking): Approval | undefined {
  const { references, problems } = linking;
  const { version: versionRef, application: applicationRef, ...spec } = object.spec;
  checkValidity(object, spec, ["spec"], linking);
  const version = references.upwards(object, "ModelVersion", versionRef, ["spec", "version"]);
  const application = references.upwards(object, "Application", applicationRef, ["spec", "application"]);
  // Else a team could let a version answer that is not its own, or approve for another team.
  for (const [field, key] of [
    ["version", version],
    ["application", application],
  ] as const) {
    const owner = key === undefined ? undefined : scopeOf(key);
    if (owner === undefined || isWithin(owner, object.scope)) continue;
    const message = `an approval in scope "${object.scope}" cannot speak for ${field === "version" ? "a version" : "an application"} of "${owner}"`;
    const hint = `move it to scope "${owner}" or above it`;
    problems.error(object, ["spec", field], "not-allowed", message, hint);
  }
  if (version === undefined || application === undefined) return undefined;
  return { ...metaOf(object), version, application, ...spec };
}
