import type { PolicyProgram } from "../policy/index.ts";
import type { Key, ModelSource, Scope } from "../resources/index.ts";

/** What a compiled inventory is made of. Each part is stored and addressed by its own content. */
export interface RevisionParts {
  readonly program: PolicyProgram;
  readonly layouts: readonly Layout[];
  readonly nodeGroups: readonly NodeGroup[];
  readonly secrets: readonly SecretReference[];
}

/** The resources of one group of Envoys: those that say `node.cluster` = `name`. */
export interface NodeGroup {
  /** Key of the Gateway, or a name that stands for its nodes that lack extensions. */
  readonly name: string;
  /** Hash of its layout; where it has several route tables, over their layouts. */
  readonly layout: string;
  /** Another group whose resources this one has, too, but for those that it has itself under the same type and name. */
  readonly extends?: string;
  /** Why its nodes are given nothing that is governed. */
  readonly withheld?: string;
  readonly resources: readonly EncodedResource[];
}

/** One xDS resource, encoded once. */
export interface EncodedResource {
  readonly typeUrl: string;
  readonly name: string;
  /** SHA-256 of `value`, first 16 hex digits: the same on every replica and after every restart. */
  readonly version: string;
  readonly value: Uint8Array;
}

/**
 * A route table of a node group (a port, or with TLS one listener of it) in the words of decisions: which routes there
 * are, and what each can name. The hash travels with every Check (context extension `layout`), and a decision names only
 * what the request's own layout has.
 */
export interface Layout {
  /** SHA-256 (hex, first 32 digits) of the table as generated, before the hash itself is written into it. */
  readonly hash: string;
  /** Key of the Gateway. */
  readonly nodeGroup: string;
  /** Its Envoys take the first name of a decision's list, which the decision tells them apart; left out: the list. */
  readonly plan?: "reduced";
  readonly routes: readonly LayoutRoute[];
}

export interface LayoutRoute {
  /** As in the context extension `route` and in decision metadata. */
  readonly id: string;
  readonly gateway: Key;
  readonly httpRoute: Key;
  readonly scope: Scope;
  readonly action: "plain" | "model" | "redirect" | "modelList";
  /** Names that a decision may put on its list. */
  readonly groups: readonly LayoutGroup[];
  /** Attempts that Envoy makes, the first included: a chain is cut to this. In a reduced layout it is cut to one. */
  readonly attempts: number;
  /** Models that the route offers (action model, modelList). */
  readonly models: readonly Key[];
  /** Models whose answers have a budget of their own: what follows "stream" or "whole" in the decision's `mode`. */
  readonly budgets?: Readonly<Record<Key, string>>;
  readonly modelSource?: ModelSource;
  /** Clusters to which a decision may have a copy of the request sent. */
  readonly mirrors?: readonly LayoutMirror[];
  /** Whether Envoy sends the body along. */
  readonly body: boolean;
}

/** A mirror that the routes of a layout have a variant for. */
export interface LayoutMirror {
  readonly cluster: string;
  /** Percent of requests, where the route's own filter says it; a rollout says it in the program. */
  readonly share?: number;
}

/** One priority group of Envoy. */
export interface LayoutGroup {
  readonly name: string;
  /** Cluster name and weight; more than one only in the weighted group of a plain route. */
  readonly clusters: readonly { readonly name: string; readonly weight: number }[];
}

/** Where secret material is found by the xDS server; `name` is the SDS name. */
export type SecretReference =
  | { readonly name: string; readonly type: "tls"; readonly certificateFile: string; readonly privateKeyFile: string }
  | { readonly name: string; readonly type: "ca"; readonly certificateFile: string }
  | { readonly name: string; readonly type: "opaque"; readonly valueFile: string };
