import type { Authored } from "../authored.ts";
import { countryHint, isCountry } from "../countries.ts";
import type { Deployment } from "../inventory.ts";
import type { ProblemList, Subject } from "../problems.ts";
import { suggest } from "../suggest.ts";
import type { Path } from "../yaml-document.ts";
import { type Linking, metaOf } from "./linking.ts";
import { checkValidity } from "./validity.ts";

export function resolveDeployment(object: Authored<"Deployment">, linking: Linking): Deployment | undefined {
  const { references, problems } = linking;
  const { version: versionRef, upstream: upstreamRef, wireName, ...spec } = object.spec;
  checkCountry(object, spec.country, ["spec", "country"], problems);
  const names = new Set<string>();
  for (const [index, { name, country }] of spec.subprocessors.entries()) {
    checkCountry(object, country, ["spec", "subprocessors", index, "country"], problems);
    names.add(name);
  }
  for (const [index, safeguard] of spec.safeguards.entries()) {
    checkCountry(object, safeguard.country, ["spec", "safeguards", index, "country"], problems);
    checkValidity(object, safeguard, ["spec", "safeguards", index], linking);
  }
  for (const [index, agreement] of spec.agreements.entries()) {
    const at = ["spec", "agreements", index];
    checkValidity(object, agreement, at, linking);
    const { subprocessor } = agreement;
    if (subprocessor === undefined || names.has(subprocessor)) continue;
    const message = `there is no subprocessor "${subprocessor}"`;
    const hint = suggest(subprocessor, [...names], "a subprocessor here");
    problems.error(object, [...at, "subprocessor"], "dangling-reference", message, hint);
  }
  const version = references.upwards(object, "ModelVersion", versionRef, ["spec", "version"]);
  const upstream = references.upwards(object, "Upstream", upstreamRef, ["spec", "upstream"]);
  if (version === undefined || upstream === undefined) return undefined;
  if (references.object("Upstream", upstream)?.spec.governed === false) {
    const message = `Upstream "${upstream}" is not governed, and what serves a model is`;
    problems.error(object, ["spec", "upstream"], "conflict", message, "give the model an Upstream of its own");
  }
  const served = references.object("ModelVersion", version)?.spec.version;
  return { ...metaOf(object), version, upstream, wireName: wireName ?? served ?? object.name, ...spec };
}

export function checkCountry(object: Subject, country: string, at: Path, problems: ProblemList): void {
  if (isCountry(country)) return;
  problems.error(object, at, "invalid-value", "must be a country code of ISO 3166-1 alpha-2", countryHint(country));
}
