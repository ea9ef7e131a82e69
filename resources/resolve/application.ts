import type { Authored } from "../authored.ts";
import type { Application, JwtIdentity, Key } from "../inventory.ts";
import type { Specs } from "../kinds.ts";
import type { Path } from "../yaml-document.ts";
import { type Linking, metaOf } from "./linking.ts";

export function resolveApplication(object: Authored<"Application">, linking: Linking): Application {
  const { references, problems } = linking;
  const { spec } = object;
  const ids = new Set<string>();
  for (const [index, { id }] of spec.apiKeys.entries()) {
    if (ids.has(id)) {
      const message = `two keys of this application have the id "${id}"`;
      problems.error(object, ["spec", "apiKeys", index, "id"], "conflict", message, "records tell keys apart by it");
    }
    ids.add(id);
  }
  if (spec.apiKeys.length === 0 && spec.jwt.length === 0 && !spec.anonymous) {
    const hint = "write apiKeys, jwt or anonymous: true";
    problems.warning(
      object,
      ["metadata", "name"],
      "unreachable",
      "no request is ever recognised as this application's",
      hint,
    );
  }
  const substitutes: Key[] = [];
  for (const [index, reference] of spec.substitutes.entries()) {
    const key = references.upwards(object, "Model", reference, ["spec", "substitutes", index]);
    if (key !== undefined && !substitutes.includes(key)) substitutes.push(key);
  }
  const jwt = spec.jwt.flatMap((identity, index) => jwtOf(object, identity, ["spec", "jwt", index], linking) ?? []);
  const minimumScores = spec.minimumScores.map(({ maxAge, ...score }) =>
    maxAge === undefined ? score : { ...score, maxAgeMs: maxAge },
  );
  return { ...metaOf(object), ...spec, minimumScores, substitutes, jwt };
}

function jwtOf(
  object: Authored<"Application">,
  identity: Specs["Application"]["jwt"][number],
  at: Path,
  { references, problems }: Linking,
): JwtIdentity | undefined {
  const { file, url } = identity.jwks;
  if (file !== undefined && url === undefined) {
    const path = references.file(object, file, [...at, "jwks", "file"]);
    return path === undefined ? undefined : { ...identity, jwks: { file: path } };
  }
  if (url !== undefined && file === undefined) return { ...identity, jwks: { url } };
  problems.error(object, [...at, "jwks"], "conflict", "jwks needs exactly one of file and url");
  return undefined;
}
