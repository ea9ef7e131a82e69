import { z } from "zod";
import { ChanceryError } from "../resources/index.ts";
import {
  canonicalJson,
  type Digest,
  digestOf,
  type SignatureCheck,
  type SigningKey,
  signStatement,
  verifyStatement,
} from "../revision/index.ts";
import { MAX_RESTRICTION_BYTES, MAX_RESTRICTION_MS, RESTRICTION_SKEW_MS } from "./bus-limits.ts";
import { MAX_SIGNATURES, statementSignatures } from "./statement-signatures.ts";

export const RESTRICTION_KINDS = ["version", "application", "upstream", "region", "rule", "model"] as const;

const line = (maximum: number) =>
  z
    .string()
    .min(1)
    .max(maximum)
    // One line of printable text: it is shown in terminals and logs.
    .regex(/^[^\p{Cc}\p{Zl}\p{Zp}]*$/u, "holds control characters");
const id = z.string().regex(/^q-[0-9a-f]{16,32}$/, "is not q- and 16 to 32 hex digits");

const restrict = z.strictObject({
  format: z.literal(1),
  type: z.literal("restrict"),
  id,
  kind: z.enum(RESTRICTION_KINDS),
  /** Key of the object, name of the region or id of the rule. */
  value: line(1_280),
  reason: line(1_024),
  /** Who gave it, as the signer says. */
  by: line(256),
  at: z.iso.datetime(),
  until: z.iso.datetime(),
});
const lift = z.strictObject({
  format: z.literal(1),
  type: z.literal("lift"),
  /** Of the restriction. */
  id,
  reason: line(1_024),
  by: line(256),
  at: z.iso.datetime(),
});
const statementSchema = z.discriminatedUnion("type", [restrict, lift]);
const entrySchema = z.strictObject({ statement: statementSchema, signatures: statementSignatures });

/** Takes something out of use until a time. Another one with the same id (and a later end) renews it. */
export type RestrictStatement = z.infer<typeof restrict>;
/** Ends every restriction with this id, those that renew it included, whichever arrives first. */
export type LiftStatement = z.infer<typeof lift>;
export type RestrictionStatement = RestrictStatement | LiftStatement;

/** A statement that a trusted key signed. */
export interface RestrictionEntry {
  readonly statement: RestrictionStatement;
  /** Of the statement: two entries that say the same are one. */
  readonly digest: Digest;
  readonly signedBy: readonly string[];
  /** As it travels and is stored. */
  readonly bytes: Uint8Array;
}

/** @throws ChanceryError "invalid-argument" for a statement that no reader would take */
export function signRestriction(statement: RestrictionStatement, keys: readonly SigningKey[]): Uint8Array {
  const parsed = statementSchema.safeParse(statement);
  if (!parsed.success) {
    throw new ChanceryError("invalid-argument", `not a restriction: ${problemOf(parsed.error)}`);
  }
  const signatures = signStatement("restriction", parsed.data, keys);
  return Buffer.from(canonicalJson({ statement: parsed.data, signatures }));
}

/**
 * Reads and verifies an entry. What was accepted before (`stored`) is not held to the clock again.
 *
 * @throws ChanceryError "corrupt" where it cannot be read, "untrusted" where the trust file does not cover it,
 *   "invalid-argument" where it reaches further into the future than any may
 */
export function verifyRestriction(bytes: Uint8Array, by: SignatureCheck): RestrictionEntry {
  const { statement, signatures } = parse(bytes);
  const what = `${statement.type === "lift" ? "the lifting of" : "restriction"} ${statement.id}`;
  const { signedBy } = verifyStatement(what, "restriction", statement, signatures, by);
  if (by.age === "new") demandBounded(statement, what, by.now);
  return { statement, digest: digestOf(canonicalJson(statement)), signedBy, bytes: new Uint8Array(bytes) };
}

/**
 * The same statement with the signatures of both.
 *
 * @returns undefined where `known` has all that the other has
 */
export function mergeSignatures(known: RestrictionEntry, other: RestrictionEntry): RestrictionEntry | undefined {
  const added = other.signedBy.filter((keyId) => !known.signedBy.includes(keyId));
  if (added.length === 0) return undefined;
  const { statement, signatures } = parse(other.bytes);
  const fresh = signatures.filter(({ keyId }) => added.includes(keyId));
  const kept = parse(known.bytes).signatures.filter(({ keyId }) => known.signedBy.includes(keyId));
  // What does not fit any more is an older signature.
  for (let left = Math.min(kept.length, MAX_SIGNATURES - fresh.length); left >= 0; left--) {
    const both = [...kept.slice(kept.length - left), ...fresh].sort((a, b) => (a.keyId < b.keyId ? -1 : 1));
    const bytes = Buffer.from(canonicalJson({ statement, signatures: both }));
    if (bytes.length > MAX_RESTRICTION_BYTES) continue;
    return { ...known, signedBy: both.map(({ keyId }) => keyId), bytes };
  }
  return undefined;
}

function demandBounded(statement: RestrictionStatement, what: string, now: number): void {
  const hours = MAX_RESTRICTION_MS / 3_600_000;
  if (statement.type === "restrict") {
    const until = Date.parse(statement.until);
    if (until > now + MAX_RESTRICTION_MS + RESTRICTION_SKEW_MS) {
      throw new ChanceryError(
        "invalid-argument",
        `${what} ends ${statement.until}: it may last ${hours} h; renew it then`,
      );
    }
    if (until <= Date.parse(statement.at)) {
      throw new ChanceryError("invalid-argument", `${what} ends before it begins`);
    }
  } else if (Date.parse(statement.at) > now + RESTRICTION_SKEW_MS) {
    throw new ChanceryError("invalid-argument", `${what} is dated ${statement.at}, which is not yet`);
  }
}

function parse(bytes: Uint8Array): z.infer<typeof entrySchema> {
  if (bytes.length > MAX_RESTRICTION_BYTES) {
    throw new ChanceryError("corrupt", `a restriction has ${bytes.length} bytes; at most ${MAX_RESTRICTION_BYTES} fit`);
  }
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new ChanceryError("corrupt", "a restriction is not JSON", { cause });
  }
  const parsed = entrySchema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new ChanceryError("corrupt", `a restriction cannot be read: ${problemOf(parsed.error)}`);
}

function problemOf(error: z.ZodError): string {
  return z.prettifyError(error).replaceAll(/\s+/g, " ").slice(0, 500);
}
