import type { EncodedResource } from "../compiler/index.ts";

/** A resource with what xDS can say about it besides its content. */
export interface ServedResource extends EncodedResource {
  /**
   * Milliseconds after which a client drops the resource unless it hears of it again; heartbeats keep it alive for as
   * long as the stream does. Only clients that say they understand it are told. Left out: it does not expire.
   */
  readonly ttlMs?: number;
  /** Other names that delta clients may ask by; virtual hosts are asked for by domain (vhds.rst). */
  readonly aliases?: readonly string[];
}

/** What the Envoys of one node group shall run. Immutable; unchanged resources keep their identity between snapshots. */
export interface GroupSnapshot {
  readonly group: string;
  readonly revision: number;
  readonly layout: string;
  /** Why its nodes are given nothing that is governed. */
  readonly withheld?: string;
  /** type URL → resource name → resource. */
  readonly resources: ReadonlyMap<string, ReadonlyMap<string, ServedResource>>;
  /**
   * type URL → what clients are shown as the version of the type, in place of the hash of its content. For people and
   * tools that count versions themselves: what is sent is decided by content, whatever the labels say.
   */
  readonly labels?: ReadonlyMap<string, string>;
}

/** What differs from what the Envoys of a node group have, where the caller knows: endpoints, health, weights. */
export interface GroupChange {
  readonly group: string;
  /** New, or in the place of what has the same type and name. */
  readonly resources: readonly ServedResource[];
  readonly removed?: readonly { readonly typeUrl: string; readonly name: string }[];
}
