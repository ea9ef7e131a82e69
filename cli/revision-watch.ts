import type { Bus, SequencedHead, Subscription } from "../distribution/index.ts";
import { ChanceryError } from "../resources/index.ts";
import { manifestDigest, parseSignedManifest } from "../revision/index.ts";
import type { RevisionFacts } from "./fleet.ts";

export interface RevisionWatchOptions {
  readonly onRevision: (revision: RevisionFacts) => void;
  readonly onAlarm: (alarm: ChanceryError) => void;
}

/** Tells of the newest revision on a bus, whoever published it; not verified: for people to see, for nothing to act on. */
export function watchRevisions(bus: Bus, { onRevision, onAlarm }: RevisionWatchOptions): Subscription {
  let open = true;
  let seen: string | undefined;
  const read = async ({ manifest: of }: SequencedHead): Promise<void> => {
    const bytes = await bus.getBlob(of);
    if (bytes === undefined || !open) return;
    const { manifest, signatures } = parseSignedManifest(bytes);
    const { number, createdAt } = manifest;
    const signedBy = signatures.map(({ keyId }) => keyId);
    onRevision({ number, digest: manifestDigest(manifest), createdAt: Date.parse(createdAt), signedBy });
  };
  const heads = bus.watchHead((head) => {
    if (head.manifest === seen) return;
    seen = head.manifest;
    read(head).catch((error: unknown) => {
      seen = undefined;
      if (open) onAlarm(ChanceryError.from(error, "unavailable"));
    });
  });
  return {
    close: () => {
      open = false;
      heads.close();
    },
  };
}
