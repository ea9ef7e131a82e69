import type { Key, Meta } from "./inventory.ts";

/** Decisions that are expected of the tree. No part of a revision. */
export interface PolicyTest extends Meta {
  /** Cases times their fixtures, in order. */
  readonly cases: readonly PolicyTestCase[];
}

export interface PolicyTestCase {
  readonly name: string;
  /** The fixture that it runs with. */
  readonly fixture?: string;
  /** Place among `spec.cases` as authored. */
  readonly index: number;
  /** RFC 3339. */
  readonly now: string;
  readonly request: PolicyTestRequest;
  /** In [0, 1). */
  readonly draw: number;
  readonly expect: PolicyTestExpectation;
}

export interface PolicyTestRequest {
  readonly application: Key;
  readonly gateway?: Key;
  readonly port?: number;
  readonly route?: Key;
  readonly method?: string;
  readonly host?: string;
  /** With query. */
  readonly path?: string;
  /** Lower-case name → values. */
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly model?: string;
  readonly stream: boolean;
  readonly subject: {
    readonly kind?: "jwt" | "apiKey" | "mtls" | "anonymous";
    readonly id?: string;
    readonly fields: Readonly<Record<string, string>>;
    readonly claims?: Readonly<Record<string, unknown>>;
  };
  readonly source: string;
}

export interface PolicyTestExpectation {
  readonly effect: "allow" | "deny";
  readonly code?: string;
  readonly rule?: string;
  readonly targets?: readonly string[];
  readonly rerouted?: readonly { readonly rule?: string; readonly to: string }[];
  readonly removed?: Readonly<Record<string, string>>;
}
