import type { ApplicationFacts, VersionFacts } from "../policy/index.ts";
import type { Application, Key, ModelVersion } from "../resources/index.ts";

export function byKey<T extends { readonly key: Key }>(objects: readonly T[]): T[] {
  return [...objects].sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
}

export function applicationFacts(application: Application): ApplicationFacts {
  const declarations = declared(application.declarations);
  return {
    key: application.key,
    scope: application.scope,
    mode: application.mode,
    purpose: application.purpose,
    riskTier: application.riskTier,
    ...(application.riskBasis.length === 0 ? {} : { riskBasis: application.riskBasis }),
    ...(application.decidesAboutPeople ? { decidesAboutPeople: true } : {}),
    ...(application.onMarketSince === undefined ? {} : { onMarketSince: application.onMarketSince }),
    ...(declarations === undefined ? {} : { declarations }),
    ...(application.recordRetentionDays === 0 ? {} : { recordRetentionDays: application.recordRetentionDays }),
    dataClasses: application.dataClasses,
    jurisdictions: application.jurisdictions,
    ...(application.minimumMaturity === undefined ? {} : { minimumMaturity: application.minimumMaturity }),
    minimumScores: application.minimumScores,
    durability: application.durability,
    substitutes: application.substitutes,
    ...(application.stickyKey === undefined ? {} : { stickyKey: application.stickyKey }),
    apiKeys: application.apiKeys,
    jwt: application.jwt.map(({ issuer, audiences, claims, subject }) => ({ issuer, audiences, claims, subject })),
    anonymous: application.anonymous,
    labels: application.labels,
  };
}

/** What is known of a version wherever it runs, but for its labels. */
export function versionFacts(version: ModelVersion, age: number): Omit<VersionFacts, "labels"> {
  const documentation = declared(version.documentation);
  return {
    model: version.model,
    version: version.key,
    versionName: version.version,
    age,
    provider: version.provider,
    ...(version.digest === undefined ? {} : { digest: version.digest }),
    ...(version.owner === undefined ? {} : { owner: version.owner }),
    ...(version.generalPurpose === "no" ? {} : { generalPurpose: version.generalPurpose }),
    ...(documentation === undefined ? {} : { documentation }),
    maturity: version.maturity,
    trainingData: version.trainingData,
    certifications: version.certifications,
    scores: version.scores,
  };
}

/** What is declared of a group of texts; undefined where nothing is. */
function declared<T extends object>(texts: T): Partial<T> | undefined {
  const given: Partial<T> = { ...texts };
  let some = false;
  for (const name in given) {
    if (given[name] === "") delete given[name];
    else some = true;
  }
  return some ? given : undefined;
}

/** Position among the versions of the same model, 0 the oldest: by release date where all have one, else by
 * version ("2" before "10"). */
export function versionAges(versions: readonly ModelVersion[]): Map<Key, number> {
  const byModel = new Map<Key, ModelVersion[]>();
  for (const version of byKey(versions)) {
    const siblings = byModel.get(version.model);
    if (siblings === undefined) byModel.set(version.model, [version]);
    else siblings.push(version);
  }
  const natural = new Intl.Collator("en", { numeric: true });
  const ages = new Map<Key, number>();
  for (const siblings of byModel.values()) {
    const dated = siblings.every((version) => version.releasedAt !== undefined);
    siblings.sort((a, b) => {
      const released = dated ? Date.parse(a.releasedAt ?? "") - Date.parse(b.releasedAt ?? "") : 0;
      return released === 0 ? natural.compare(a.version, b.version) : released;
    });
    siblings.forEach((version, age) => {
      ages.set(version.key, age);
    });
  }
  return ages;
}
