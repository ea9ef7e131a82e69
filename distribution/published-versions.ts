import type { RegisteredVersion } from "../resources/index.ts";
import { ChanceryError } from "../resources/index.ts";
import { decodeProgram, parseSignedManifest, parseTrust, verifyManifest } from "../revision/index.ts";
import type { Bus, SequencedHead } from "./bus.ts";

/** What a revision on the bus tells a publisher that did not publish it. */
export interface PublishedVersions {
  readonly number: number;
  /** Of the tree that it was compiled from. */
  readonly source: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** Those that have a deployment. */
  readonly versions: readonly RegisteredVersion[];
}

/**
 * @param trust  text of the trust file; where it is given, a revision that it does not cover tells nothing
 * @param now  milliseconds since the epoch
 * @throws ChanceryError "not-found", "corrupt", "unsupported-format", "untrusted"; what the bus throws
 */
export async function readPublishedVersions(
  bus: Bus,
  head: SequencedHead,
  trust: string | undefined,
  now: number,
): Promise<PublishedVersions> {
  const bytes = await bus.getBlob(head.manifest);
  if (bytes === undefined) throw new ChanceryError("not-found", `the manifest of revision ${head.number} is missing`);
  const signed = parseSignedManifest(bytes);
  if (trust !== undefined) verifyManifest(signed, parseTrust(trust, "the trust file"), now, "stored");
  const { targets } = await decodeProgram(signed, (digest, size) => bus.getBlob(digest, size));
  const versions = new Map<string, RegisteredVersion>();
  for (const { model } of targets) {
    if (model === undefined) continue;
    const { version: key, model: of, versionName, provider, maturity, digest, owner } = model;
    versions.set(key, {
      ...({ kind: "version", key, model: of, version: versionName, provider, maturity } as const),
      ...(digest === undefined ? {} : { digest }),
      ...(owner === undefined ? {} : { owner }),
    });
  }
  const { number, source, createdAt } = signed.manifest;
  return { number, source, at: Date.parse(createdAt), versions: [...versions.values()] };
}
