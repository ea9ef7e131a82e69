import type { Digest, SignedManifest } from "../revision/index.ts";
import type { Bus, HeadAnnouncement } from "./bus.ts";
import { isCovered, readHeadManifest } from "./head-check.ts";

export interface HeadReaderOptions {
  readonly bus: Pick<Bus, "getBlob">;
  /** Text of the trust file; where there is none, everything is believed. */
  readonly trust?: string | undefined;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** Manifests of heads, the last of which is not read and verified twice: content has the same digest for ever. */
export class HeadReader {
  readonly #options: HeadReaderOptions;
  #last: { readonly digest: Digest; readonly signed: SignedManifest; covered?: boolean } | undefined;

  constructor(options: HeadReaderOptions) {
    this.#options = options;
  }

  /** As `readHeadManifest`; whether the bus still has what was read before is not looked at. */
  async manifest(head: HeadAnnouncement): Promise<SignedManifest | undefined> {
    if (this.#last?.digest === head.manifest) return this.#last.signed;
    return await this.manifestOnBus(head);
  }

  /** The same, from the bus in any case. */
  async manifestOnBus(head: HeadAnnouncement): Promise<SignedManifest | undefined> {
    const signed = await readHeadManifest(this.#options.bus, head);
    if (signed !== undefined && this.#last?.digest !== head.manifest) this.remember(head.manifest, signed);
    return signed;
  }

  /** The same, where the trust file covers it; keys that have expired cover what they have signed. */
  async proven(head: HeadAnnouncement): Promise<SignedManifest | undefined> {
    const signed = await this.manifest(head);
    if (signed === undefined) return undefined;
    const { trust, now } = this.#options;
    const last = this.#last?.signed === signed ? this.#last : undefined;
    const covered = last?.covered ?? isCovered(signed, trust, now());
    if (last !== undefined) last.covered = covered;
    return covered ? signed : undefined;
  }

  /** What was put on the bus from here. */
  remember(digest: Digest, signed: SignedManifest): void {
    this.#last = { digest, signed };
  }
}
