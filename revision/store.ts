import { atOnce, inSlices, type Slicing } from "../policy/index.ts";
import { ChanceryError } from "../resources/index.ts";
import { decodeRevision, type FetchBlob, type PartCache } from "./codec.ts";
import { digestOf, digestSteps } from "./digest.ts";
import { manifestDigest, parseSignedManifest } from "./manifest.ts";
import type { RevisionRecord } from "./record.ts";
import type { Digest, Manifest, Revision, SignedManifest } from "./revision.ts";
import { verifyManifest } from "./signature.ts";
import { diskMedium, readOnlyMedium, type StoreMedium } from "./store-disk.ts";
import type { Trust } from "./trust.ts";

const KEPT_REVISIONS = 8;

export interface RevisionStoreOptions {
  /** `unsigned-local`: revisions need no signature, because they never leave the machine that made them. */
  readonly trust: Trust | "unsigned-local";
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** The disk is only read; what is accepted stays in memory. */
  readonly readOnly?: boolean;
  /** How many revisions stay on disk; 8 unless given. */
  readonly keep?: number;
  /** How decoding shares the loop with requests; absent: it does not. */
  readonly slicing?: Slicing;
  /** Something is wrong that did not stop the work: a damaged revision was passed over, a signing key has expired. */
  readonly onAlarm: (alarm: ChanceryError) => void;
}

/**
 * Accepted revisions on disk, content-addressed. One process writes to a store; others may open it read-only.
 *
 * What was accepted survives a crash at any moment, and damage to any file yields an older revision or none, never a
 * wrong one.
 */
export interface RevisionStore {
  /**
   * The newest revision that is whole; undefined when there is none. Damaged ones are passed over, with an alarm.
   *
   * @param below  only older ones than this number, for who cannot use the newest
   */
  lastGood(below?: number): Promise<StoredRevision | undefined>;
  /**
   * Verifies a revision and makes it durable. Parts that are not in the store (or damaged there) are taken from `fetch`.
   * The same revision again is no error, and mends what is damaged.
   *
   * @throws ChanceryError "stale" for a number below the newest accepted one, "conflict" for the same number with other
   *   content, "untrusted", "corrupt", "not-found", "unsupported-format"; what is in force stays
   */
  accept(signedManifest: Uint8Array, fetch: FetchBlob): Promise<StoredRevision>;
  /** Newest number that was ever accepted; 0 before the first. */
  fence(): Promise<number>;
  close(): Promise<void>;
}

export interface StoredRevision {
  readonly revision: Revision;
  /** Blob with the signed manifest. */
  readonly manifest: Digest;
}

export async function openRevisionStore(directory: string, options: RevisionStoreOptions): Promise<RevisionStore> {
  const medium = options.readOnly === true ? readOnlyMedium(directory) : await diskMedium(directory);
  return new MediumStore(medium, options);
}

class MediumStore implements RevisionStore {
  readonly #medium: StoreMedium;
  readonly #options: RevisionStoreOptions;
  /** Unchanged parts keep their identity from one revision to the next. */
  readonly #cache: PartCache = new Map();
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(medium: StoreMedium, options: RevisionStoreOptions) {
    this.#medium = medium;
    this.#options = options;
  }

  lastGood(below = Number.POSITIVE_INFINITY): Promise<StoredRevision | undefined> {
    return this.#inTurn(async () => {
      for (const number of await this.#medium.numbers()) {
        if (number >= below) continue;
        try {
          return await this.#load(number);
        } catch (error) {
          const cause = ChanceryError.from(error, "corrupt");
          const message = `revision ${number} on disk is passed over: ${cause.message}`;
          this.#options.onAlarm(new ChanceryError(cause.code, message, { cause }));
        }
      }
      return undefined;
    });
  }

  accept(bytes: Uint8Array, fetch: FetchBlob): Promise<StoredRevision> {
    const accepted = this.#inTurn(async () => {
      const signed = parseSignedManifest(bytes);
      const signedBy = this.#verify(signed, "new");
      const { manifest } = signed;
      await this.#checkFence(manifest);
      const getPart: FetchBlob = (digest, size) => this.#obtain(digest, size, fetch);
      const revision = await decodeRevision(signed, getPart, signedBy, this.#cache, this.#options.slicing);
      const digest = digestOf(bytes);
      await this.#medium.putBlob(digest, bytes);
      const record: RevisionRecord = {
        format: 1,
        number: manifest.number,
        manifest: digest,
        revision: revision.digest,
      };
      await this.#medium.putRecord(record);
      return { revision, manifest: digest };
    });
    // Nobody waits for the clearing but who is next; what could not be cleared away is tried again at the next one.
    this.#last = accepted.then(
      () => this.#collect().catch((error: unknown) => this.#options.onAlarm(ChanceryError.from(error))),
      () => undefined,
    );
    return accepted;
  }

  fence(): Promise<number> {
    return this.#inTurn(async () => (await this.#medium.numbers())[0] ?? 0);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#last;
  }

  async #load(number: number): Promise<StoredRevision> {
    const record = await this.#medium.getRecord(number);
    if (record === undefined) throw new ChanceryError("not-found", "its record is gone");
    const bytes = await this.#medium.getBlob(record.manifest);
    if (bytes === undefined) throw new ChanceryError("not-found", "its manifest is gone");
    const signed = parseSignedManifest(bytes);
    if (signed.manifest.number !== number || manifestDigest(signed.manifest) !== record.revision) {
      throw new ChanceryError("corrupt", "its record names another manifest");
    }
    const signedBy = this.#verify(signed, "stored");
    const getPart = (digest: Digest) => this.#medium.getBlob(digest);
    const revision = await decodeRevision(signed, getPart, signedBy, this.#cache, this.#options.slicing);
    return { revision, manifest: record.manifest };
  }

  #verify(signed: SignedManifest, revision: "new" | "stored"): readonly string[] {
    const { trust, now, onAlarm } = this.#options;
    // Signatures that nobody can check are not reported as if somebody had.
    if (trust === "unsigned-local") return [];
    if (signed.trust !== undefined) this.#rotate(trust, signed.trust, signed.manifest.number);
    const { signedBy, expired } = verifyManifest(signed, trust, now(), revision);
    if (expired.length > 0) {
      const message = `signing key ${expired.join(", ")} has expired: revision ${signed.manifest.number} stays in force, new ones need a new key`;
      onAlarm(new ChanceryError("untrusted", message));
    }
    return signedBy;
  }

  /** Keys that the root vouches for since: taken from whoever brings them, since it is the root that signed them. */
  #rotate(trust: Trust, text: string, number: number): void {
    try {
      trust.update(text, `the trust file in revision ${number}`);
    } catch (error) {
      // What is believed stays; whether the revision is good is seen by that.
      this.#options.onAlarm(ChanceryError.from(error, "untrusted"));
    }
  }

  async #checkFence(manifest: Manifest): Promise<void> {
    const newest = (await this.#medium.numbers())[0] ?? 0;
    if (manifest.number < newest) {
      throw new ChanceryError(
        "stale",
        `revision ${manifest.number} is older than ${newest}, which was accepted before`,
      );
    }
    if (manifest.number > newest) return;
    const accepted = await this.#acceptedDigest(newest);
    if (accepted !== undefined && accepted !== manifestDigest(manifest)) {
      throw new ChanceryError("conflict", `another revision with the number ${newest} was accepted before`);
    }
  }

  /** undefined where the record is damaged: then whoever is trusted with this number mends it. */
  async #acceptedDigest(number: number): Promise<Digest | undefined> {
    try {
      return (await this.#medium.getRecord(number))?.revision;
    } catch (error) {
      if (isCorrupt(error)) return undefined;
      throw error;
    }
  }

  async #obtain(digest: Digest, size: number | undefined, fetch: FetchBlob): Promise<Uint8Array | undefined> {
    try {
      const stored = await this.#medium.getBlob(digest);
      if (stored !== undefined) return stored;
    } catch (error) {
      if (!isCorrupt(error)) throw error;
      this.#options.onAlarm(ChanceryError.from(error));
    }
    const fetched = await fetch(digest, size);
    if (fetched === undefined) return undefined;
    const { slicing } = this.#options;
    const steps = digestSteps(fetched);
    const actual = slicing === undefined ? atOnce(steps) : await inSlices(steps, slicing);
    if (actual !== digest) throw new ChanceryError("corrupt", `what was fetched is not ${digest}`);
    await this.#medium.putBlob(digest, fetched);
    return fetched;
  }

  /** Removes revisions beyond the newest few, then what no revision names any more. */
  async #collect(): Promise<void> {
    const numbers = await this.#medium.numbers();
    const kept = numbers.slice(0, Math.max(1, this.#options.keep ?? KEPT_REVISIONS));
    await this.#medium.removeRecords(numbers.slice(kept.length));
    const wanted = new Set<Digest>();
    for (const number of kept) {
      try {
        const record = await this.#medium.getRecord(number);
        const bytes = record === undefined ? undefined : await this.#medium.getBlob(record.manifest);
        if (record === undefined || bytes === undefined) continue;
        wanted.add(record.manifest);
        for (const part of parseSignedManifest(bytes).manifest.parts) wanted.add(part.digest);
      } catch (error) {
        // A damaged revision cannot be loaded again, so what it named need not stay; lastGood reports the damage.
        if (!(error instanceof ChanceryError)) throw error;
      }
    }
    await this.#medium.retainBlobs(wanted);
  }

  /** One after the other: a collection never runs while a revision is being written. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(new ChanceryError("unavailable", "the revision store is closed"));
    const result = this.#last.then(work);
    // The caller gets the failure; the next in turn must not.
    this.#last = result.catch(() => undefined);
    return result;
  }
}

function isCorrupt(error: unknown): boolean {
  return error instanceof ChanceryError && error.code === "corrupt";
}
