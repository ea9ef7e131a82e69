import type { RevisionParts } from "../compiler/index.ts";
import { ChanceryError } from "../resources/index.ts";
import {
  contentDigest,
  createManifest,
  type Digest,
  digestOf,
  type EncodeCache,
  eachOf,
  encodeParts,
  encodeSignedManifest,
  manifestDigest,
  type SignedManifest,
  type SigningKey,
  signManifest,
} from "../revision/index.ts";
import type { Bus, SequencedHead } from "./bus.ts";
import { unprovenNumber } from "./head-check.ts";
import { HeadReader } from "./head-reader.ts";
import { type Checkout, demandDescent } from "./source-lineage.ts";

const MAX_ATTEMPTS = 8;
/** Blobs that are put on a bus at the same time. */
export const BLOBS_AT_ONCE = 8;

export interface PublishOptions {
  readonly bus: Bus;
  /** None: unsigned, good only on this machine. */
  readonly signers: readonly SigningKey[];
  /** Text of the trust file, which travels with each revision. */
  readonly trust?: string | undefined;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /**
   * The number given is above this one, whatever the bus says: the bus may have lost its heads. It is not much above where
   * the bus claims more than a revision proves.
   */
  readonly numberFloor: number;
  /** The checkout that the tree lies in; it must follow the commit of the newest revision. Left out: nobody looks. */
  readonly checkout?: Checkout | undefined;
  /**
   * The epoch under which this process leads, asked right before each head; undefined: it does not lead (any more). Left
   * out where nobody else publishes.
   */
  readonly epoch?: () => number | undefined;
  /** Of what was published from here before. */
  readonly cache?: EncodeCache;
  /** Reads heads of the same bus, with the same trust file. */
  readonly heads?: HeadReader;
  /** What must have come to a good end before a head is published. */
  readonly beforeHead?: Promise<unknown>;
}

export type PublishResult =
  /** `digest` as in `Revision.digest`; `at` in milliseconds since the epoch. */
  | { readonly outcome: "published"; readonly number: number; readonly digest: Digest; readonly at: number }
  /** The newest revision on the bus says the same and carries the same signatures and trust file. */
  | { readonly outcome: "unchanged"; readonly number: number };

/**
 * Puts a revision on the bus, numbered after the newest one there, unless that says the same. All blobs are put in either
 * case, which mends what was damaged and keeps them from being dropped.
 *
 * @throws ChanceryError "conflict" when others publish all the time, or the tree does not follow what is in force; "stale" when another process leads; what the bus throws
 */
export async function publish(parts: RevisionParts, source: string, options: PublishOptions): Promise<PublishResult> {
  const {
    bus,
    signers,
    trust,
    now,
    numberFloor,
    epoch,
    checkout,
    heads = new HeadReader({ bus, trust, now }),
  } = options;
  const encoded = encodeParts(parts, options.cache);
  const content = contentDigest(encoded.parts);
  const blobs = [...encoded.blobs];
  const isSame = (head: SequencedHead, newest: SignedManifest | undefined): boolean =>
    newest?.manifest.number === head.number &&
    contentDigest(newest.manifest.parts) === content &&
    newest.trust === trust &&
    isSignedBy(newest, signers);
  for (let attempt = 1; ; attempt++) {
    const head = await bus.head();
    await eachOf(blobs.length, BLOBS_AT_ONCE, async (index) => {
      const [digest, bytes] = blobs[index] ?? [];
      if (digest !== undefined && bytes !== undefined) await bus.putBlob(digest, bytes);
    });
    // What stays in force must be there; what is replaced need not be.
    const same =
      head !== undefined && isSame(head, await heads.manifest(head)) && isSame(head, await heads.manifestOnBus(head));
    if (same) {
      if (await renewEpoch(bus, head, demandLead(head, epoch))) return { outcome: "unchanged", number: head.number };
      if (attempt < MAX_ATTEMPTS) continue;
      throw new ChanceryError("conflict", "others announce revisions all the time");
    }
    const at = now();
    const proven = head === undefined ? undefined : (await heads.proven(head))?.manifest;
    if (checkout?.force === false) await demandDescent(checkout.lineage, proven?.commit);
    // Without a trust file nobody has proven anything.
    const known = trust === undefined ? undefined : proven?.number;
    const number = Math.max(known ?? unprovenNumber(head?.number ?? 0, numberFloor), numberFloor) + 1;
    const manifest = createManifest(number, at, source, encoded.parts, checkout?.lineage?.commit);
    const signed = signManifest(manifest, signers, trust);
    const bytes = encodeSignedManifest(signed);
    const digest = digestOf(bytes);
    await bus.putBlob(digest, bytes);
    await options.beforeHead;
    try {
      await bus.publishHead(
        { manifest: digest, number, content: bytes, ...demandLead(head, epoch) },
        head?.sequence ?? 0,
      );
      heads.remember(digest, signed);
      return { outcome: "published", number, digest: manifestDigest(manifest), at: now() };
    } catch (error) {
      // Another publisher was first: number after its revision, or find that it says the same.
      const isConflict = error instanceof ChanceryError && error.code === "conflict";
      if (!isConflict || attempt === MAX_ATTEMPTS) throw error;
    }
  }
}

/**
 * Announces the newest head again under the epoch of a new leader: whatever a leader before it sends from now on has an
 * older sequence, and fails.
 *
 * @returns the number of the head; undefined where there is none
 * @throws ChanceryError "stale" when another process leads, "conflict"; what the bus throws
 */
export async function claimHead(bus: Bus, epoch: () => number | undefined): Promise<number | undefined> {
  for (let attempt = 1; ; attempt++) {
    const head = await bus.head();
    if (head === undefined) return undefined;
    const own = demandLead(head, epoch);
    if (head.epoch === own.epoch) return head.number;
    try {
      await bus.publishHead({ manifest: head.manifest, number: head.number, ...own }, head.sequence);
      return head.number;
    } catch (error) {
      const isConflict = error instanceof ChanceryError && error.code === "conflict";
      // Its content is lost: there is nothing to announce, and publishing comes next.
      if (error instanceof ChanceryError && error.code === "not-found") return head.number;
      if (!isConflict || attempt === MAX_ATTEMPTS) throw error;
    }
  }
}

function demandLead(head: SequencedHead | undefined, epoch: (() => number | undefined) | undefined) {
  if (epoch === undefined) return {};
  const own = epoch();
  if (own === undefined || own < (head?.epoch ?? 0)) {
    throw new ChanceryError("stale", "another process leads now: nothing is published from here");
  }
  return { epoch: own };
}

/** Announces a head again under our epoch where it has an older one. @returns false where another one was first */
async function renewEpoch(bus: Bus, head: SequencedHead, own: { readonly epoch?: number }): Promise<boolean> {
  if (own.epoch === undefined || head.epoch === undefined || head.epoch >= own.epoch) return true;
  try {
    await bus.publishHead({ manifest: head.manifest, number: head.number, ...own }, head.sequence);
    return true;
  } catch (error) {
    if (error instanceof ChanceryError && error.code === "conflict") return false;
    throw error;
  }
}

/** Commit of the newest revision; undefined where there is none, it names none, or nothing vouches for its manifest. */
export async function commitInForce(bus: Bus, heads: HeadReader): Promise<string | undefined> {
  const head = await bus.head();
  return head === undefined ? undefined : (await heads.proven(head))?.manifest.commit;
}

/** Whether it carries the very signatures that these keys give: that a key is named proves nothing. */
function isSignedBy(signed: SignedManifest, signers: readonly SigningKey[]): boolean {
  const given = new Set(signed.signatures.map(({ keyId, signature }) => `${keyId} ${signature}`));
  return signManifest(signed.manifest, signers).signatures.every(({ keyId, signature }) =>
    given.has(`${keyId} ${signature}`),
  );
}
