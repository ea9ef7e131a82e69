import type { Layout, NodeGroup, SecretReference } from "../compiler/index.ts";
import type { PolicyProgram } from "../policy/index.ts";

/** "sha256:<hex>" of the bytes. */
export type Digest = string;

/** Format versions that this build reads and writes. An unknown one is refused: the last good revision stays. */
export const PART_FORMATS = { program: 1, layout: 1, nodeGroup: 1, secrets: 1 } as const;
export type PartKind = keyof typeof PART_FORMATS;

/** The signed statement of what a revision is. Canonical JSON (sorted keys, no spaces) is what is hashed and signed. */
export interface Manifest {
  readonly format: 1;
  /** Monotonic: an older number than the one in force is refused. */
  readonly number: number;
  /** RFC 3339. */
  readonly createdAt: string;
  /** Digest of the tree it was compiled from. */
  readonly source: string;
  /** Commit of the git checkout that the tree lay in; "+dirty" follows where files differed from it. */
  readonly commit?: string;
  readonly parts: readonly ManifestPart[];
}

export interface ManifestPart {
  readonly kind: PartKind;
  readonly format: number;
  /** Node group or layout hash; "" where there is only one. */
  readonly name: string;
  readonly digest: Digest;
  readonly size: number;
}

export interface SignedManifest {
  readonly manifest: Manifest;
  /** ed25519 over the canonical JSON of `manifest`, base64. Empty: unsigned, good only on the machine that made it. */
  readonly signatures: readonly { readonly keyId: string; readonly signature: string }[];
  /** The trust file that the publisher has, signed by the root: keys rotate without a visit to every machine. */
  readonly trust?: string;
}

/** A revision, verified and decoded. */
export interface Revision {
  readonly number: number;
  readonly digest: Digest;
  readonly createdAt: string;
  readonly source: string;
  readonly signedBy: readonly string[];
  readonly program: PolicyProgram;
  readonly layouts: readonly Layout[];
  readonly nodeGroups: readonly NodeGroup[];
  readonly secrets: readonly SecretReference[];
}
