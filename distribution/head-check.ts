import { ChanceryError } from "../resources/index.ts";
import { parseSignedManifest, parseTrust, type SignedManifest, type Trust, verifyManifest } from "../revision/index.ts";
import type { Bus, HeadAnnouncement } from "./bus.ts";

/** A number that no verified revision vouches for moves the next one by this much at most. */
const MAX_UNPROVEN_STEP = 1_000_000;

/** The number to go on after, where nothing proves the one that a head claims: its content may be lost, or it is forged. */
export function unprovenNumber(claimed: number, floor: number): number {
  return Math.min(claimed, floor + MAX_UNPROVEN_STEP);
}

/**
 * The manifest that a head names; not verified. Heads are not signed: what they say counts as far as it says the same.
 *
 * @returns undefined where it is lost or damaged: then the head is superseded
 * @throws ChanceryError what the bus throws
 */
export async function readHeadManifest(
  bus: Pick<Bus, "getBlob">,
  head: HeadAnnouncement,
): Promise<SignedManifest | undefined> {
  const bytes = await readHeadBytes(bus, head);
  return bytes === undefined ? undefined : parseHeadManifest(bytes);
}

/** Content of the manifest that a head names; undefined where it is lost or damaged. */
export async function readHeadBytes(
  bus: Pick<Bus, "getBlob">,
  head: HeadAnnouncement,
): Promise<Uint8Array | undefined> {
  return await bus.getBlob(head.manifest).catch((error: unknown) => {
    if (error instanceof ChanceryError && error.code === "corrupt") return undefined;
    throw error;
  });
}

/** undefined: it is no manifest, or none that this process knows to read. */
export function parseHeadManifest(bytes: Uint8Array): SignedManifest | undefined {
  try {
    return parseSignedManifest(bytes);
  } catch (error) {
    if (error instanceof ChanceryError && (error.code === "corrupt" || error.code === "unsupported-format")) {
      return undefined;
    }
    throw error;
  }
}

/** Whether the trust file covers a manifest, be its keys expired by now. Where there is none, everything is believed. */
export function isCovered(signed: SignedManifest, trust: Trust | string | undefined, now: number): boolean {
  if (trust === undefined) return true;
  try {
    const known = typeof trust === "string" ? parseTrust(trust, "the trust file") : trust;
    // A newer file of the same root travels with what newer keys have signed.
    if (signed.trust !== undefined) known.update(signed.trust, "the trust file of the newest revision");
    verifyManifest(signed, known, now, "stored");
    return true;
  } catch (error) {
    if (error instanceof ChanceryError && error.code === "untrusted") return false;
    throw error;
  }
}
