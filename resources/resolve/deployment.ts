import type { Authored } from "../authored.ts";
import { countryHint, isCountry } from "../countries.ts";
import type { Deployment } from "../inventory.ts";
import { type Linking, metaOf } from "./linking.ts";

export function resolveDeployment(object: Authored<"Deployment">, linking: Linking): Deployment | undefined {
  const { references, problems } = linking;
  const { version: versionRef, upstream: upstreamRef, wireName, ...spec } = object.spec;
  if (!isCountry(spec.country)) {
    const message = "must be a country code of ISO 3166-1 alpha-2";
    problems.error(object, ["spec", "country"], "invalid-value", message, countryHint(spec.country));
  }
  const version = references.upwards(object, "ModelVersion", versionRef, ["spec", "version"]);
  const upstream = references.upwards(object, "Upstream", upstreamRef, ["spec", "upstream"]);
  if (version === undefined || upstream === undefined) return undefined;
  const served = references.object("ModelVersion", version)?.spec.version;
  return { ...metaOf(object), version, upstream, wireName: wireName ?? served ?? object.name, ...spec };
}
