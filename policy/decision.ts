import type { Key } from "../resources/index.ts";
import type { Basis } from "./basis.ts";
import type { ApplicationFacts, Restriction, Target } from "./program.ts";

/**
 * A request as rules see it. Names are Envoy's attribute names. `undefined` is *missing* (a rule that reads it is
 * unknown), never a default.
 *
 * @see https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/advanced/attributes
 */
export interface RequestAttributes {
  readonly method: string;
  readonly scheme: string;
  /** Lower case, without port and trailing dot. */
  readonly host: string;
  /** Path and query as Envoy routes it (normalised). */
  readonly path: string;
  /** Path in canonical form, without query. */
  readonly url_path: string;
  readonly query: string;
  readonly protocol: string;
  readonly id: string;
  /** Bytes; -1: unknown. */
  readonly size: number;
  /** Milliseconds since the epoch. */
  readonly time: number;
  /** Lower-case name → every value, in order. */
  readonly headers: ReadonlyMap<string, readonly string[]>;
}

export interface PeerAttributes {
  readonly address: string;
  readonly port: number;
  /** URI SAN of a verified certificate. */
  readonly principal?: string;
}

/** The client's connection, as far as a CheckRequest tells. */
export interface ConnectionAttributes {
  /** Whether the client showed a certificate that Envoy verified. */
  readonly mtls: boolean;
  /** The server name that the client asked for in the TLS handshake (SNI). */
  readonly requested_server_name?: string;
}

/** Who asks, from verified identity only. */
export interface Subject {
  readonly kind: "jwt" | "apiKey" | "mtls" | "anonymous";
  /** `sub` claim, API key id, URI SAN or "anonymous". */
  readonly id: string;
  /** Verified JWT claims. */
  readonly claims: Readonly<Record<string, unknown>>;
  /** Fields the Application maps onto a subject (`subject.region`, `subject.tenant`, …). */
  readonly fields: Readonly<Record<string, string>>;
}

/** What was asked for, as far as the request says. */
export interface Requested {
  /** The name in the request, whatever it means. */
  readonly modelName?: string;
  /** The Model that the name stands for on this route. */
  readonly model?: Key;
  /** The one version asked for ("name@version"). */
  readonly version?: Key;
  /** The upstream drawn by weight (plain routes). */
  readonly upstream?: Key;
  /** Whether a streamed answer was asked for. */
  readonly stream: boolean;
}

/** Some parts may be read only when they are asked for: copies are made by `changedInput`. */
export interface DecisionInput {
  readonly request: RequestAttributes;
  /** As `request.headers.get`, where asking for one header costs less than all of them; at most 1,000 headers. */
  readonly header?: ((name: string) => readonly string[] | undefined) | undefined;
  readonly source: PeerAttributes;
  readonly destination: PeerAttributes;
  readonly connection: ConnectionAttributes;
  /** `filter_metadata` that Envoy sent. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** `xds.*` from context extensions: route and layout. */
  readonly xds: Readonly<Record<string, string>>;
  readonly subject: Subject;
  readonly application: ApplicationFacts;
  readonly gateway: Key;
  readonly httpRoute: Key;
  readonly requested: Requested;
  /** Every target that the route can name in the request's own layout. */
  readonly candidates: readonly Target[];
  /** Models that the route offers; empty on a plain route. */
  readonly models: readonly Key[];
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** In [0, 1), random for each request: draws among deployments of a version, and among plain backends, by weight. */
  readonly draw: number;
  /** Plain routes: pool → weight, for the draw among what is legal; a pool without one counts as 1. */
  readonly weights?: ReadonlyMap<string, number>;
  /** Active restrictions. The same array until the set changes (its index is kept by identity). */
  readonly restrictions?: readonly Restriction[];
  /** Plain routes: what the route's own filter copies requests to. The same object for all requests of the route. */
  readonly mirror?: PlainMirror | undefined;
  /** The gateway is in observe mode (an application in observe mode needs no flag). */
  readonly observe?: boolean;
  /**
   * Consult every rule, also those that cannot hold for what the request says, so that the explanation lists them. The
   * verdict is the same.
   */
  readonly explain?: boolean;
}

export interface PlainMirror {
  readonly by: string;
  readonly target: Target;
  /** Percent of requests. */
  readonly share: number;
}

/** Where copies of a request may go whose answers nobody sees; whether this one is copied is drawn for each request. */
export interface Mirror {
  /** "Rollout <key>", or the route whose filter asks for it. */
  readonly by: string;
  /** Percent of requests. */
  readonly share: number;
  /** Those of which one gets the copy: every restriction and every restrict rule lets them have it. */
  readonly targets: readonly Target[];
  /** Those that must not have it, and why. */
  readonly removed: readonly Removal[];
}

/** Why a candidate is not in the decision: a rule's id, or one of the built-in reasons. */
export interface Removal {
  readonly pool: string;
  /** Rule id, or "chancery:approval", "chancery:maturity", "chancery:scores", "chancery:model", … */
  readonly rule: string;
  readonly reason: string;
  /** More for the record, which the caller is not told: conditions of approvals that do not hold. */
  readonly detail?: string;
}

/** An approval that lets a version answer. */
export interface HeldApproval {
  readonly approval: Key;
  readonly version: Key;
  /** The ApprovalRule that it comes from; absent: an Approval. */
  readonly rule?: Key;
  /** CEL: they were true; absent: it has none. */
  readonly conditions?: readonly string[];
}

export type RuleResult = "true" | "false" | "unknown";

/** What one rule said, for the explanation. */
export interface Considered {
  readonly rule: string;
  readonly effect: "deny" | "allow" | "restrict" | "reroute" | "prefer";
  readonly mode: "enforce" | "shadow";
  readonly result: RuleResult;
  /** Why a result is unknown. */
  readonly error?: string;
  /** For rules about a target. */
  readonly pool?: string;
}

interface VerdictBase {
  /**
   * Rules that were consulted: without `explain` not those that cannot hold for what the request says (they are false).
   * Shadow rules with what they would have done. */
  readonly considered: readonly Considered[];
  readonly removed: readonly Removal[];
  /** What reroute rules made of the request: model, version or upstream, and by which rule. */
  readonly rerouted: readonly { readonly rule: string; readonly to: Key }[];
  /** Rules that did not evaluate, to be counted against them. */
  readonly errors: readonly { readonly rule: string; readonly message: string }[];
  /** What shadow rules would have changed: "deny by RULE", "removal of POOL by RULE". */
  readonly shadow: readonly string[];
}

/** Which part of a split a request was given: what its outcome counts for. */
export interface Exposure {
  /** "Rollout <key>" or "Experiment <key>". */
  readonly split: string;
  /** Of an experiment the arm's name; of a rollout to, from, holdout or pinned (by a segment). */
  readonly arm: string;
  readonly version: Key;
  /** Pseudonym of the unit within the split, 16 hex digits; absent where the draw did not depend on one. */
  readonly unit?: string;
  /** The version that was drawn first and may not answer. */
  readonly instead?: Key;
}

export interface Allow extends VerdictBase {
  readonly effect: "allow";
  /** Legal targets, best first. Empty only where the route needs none (a redirect). */
  readonly targets: readonly Target[];
  /** The allow rule that held nearest to the caller. */
  readonly rule: string;
  readonly reason: string;
  /** Set where only observe mode let it through: what enforcing would have answered. */
  readonly observed?: { readonly rule: string; readonly reason: string };
  readonly exposure?: Exposure;
  readonly mirror?: Mirror;
  /** Approvals that the targets answer by, as far as they need one or a rule asked; absent: none. */
  readonly approvals?: readonly HeldApproval[];
  /** A preference, and not weights alone, put the targets in this order. */
  readonly preferred?: true;
}

export interface Deny extends VerdictBase {
  readonly effect: "deny";
  readonly code: DenyCode;
  /** Rule id, "chancery:default-deny", "chancery:no-legal-target", … */
  readonly rule: string;
  readonly reason: string;
}

export type DenyCode = "denied" | "not_allowed" | "no_legal_target" | "model_not_found" | "evaluation_error";

export type Verdict = Allow | Deny;

/** A compiled program. Pure: same input, same verdict; never throws. */
export interface Policy {
  decide(input: DecisionInput): Verdict;
  /**
   * As `decide`, from what earlier calls found: verdicts are kept by exactly what they were made from, and shared. For
   * inputs that come again and again; those of one route bring the same `candidates`, `models`, `weights` and
   * `application` objects.
   */
  decideAgain(input: DecisionInput): Verdict;
  /** What the verdict that `decideAgain` has just given for the input was made from; undefined: it is not kept. */
  basisOf(input: DecisionInput): Basis | undefined;
  /** Those of `input.models` that `decide` would allow, in their order; what `input.requested` names does not matter. */
  usableModels(input: DecisionInput): readonly Key[];
  /** Rules that do not compile; they are unknown for every request. */
  readonly problems: readonly { readonly rule: string; readonly message: string }[];
}
