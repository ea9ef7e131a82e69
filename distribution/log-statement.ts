import { z } from "zod";
import { ChanceryError } from "../resources/index.ts";
import {
  canonicalJson,
  type Digest,
  digestOf,
  isDigest,
  type SigningKey,
  signStatement,
  type Trust,
  verifyStatement,
} from "../revision/index.ts";
import {
  MAX_KEPT_LOG_ENTRY_BYTES,
  MAX_LOG_ENTRIES,
  MAX_LOG_ENTRY_BYTES,
  RESERVED_LOG_ENTRIES,
  RESTRICTION_SKEW_MS,
} from "./bus-limits.ts";
import { statementSignatures } from "./statement-signatures.ts";

const line = (maximum: number) =>
  z
    .string()
    .min(1)
    .max(maximum)
    // One line of printable text: it is shown in terminals and logs.
    .regex(/^[^\p{Cc}\p{Zl}\p{Zp}]*$/u, "holds control characters");
const id = z.string().regex(/^a-[0-9a-f]{16,32}$/, "is not a- and 16 to 32 hex digits");

const approvalRequest = z.strictObject({
  type: z.literal("approval-request"),
  id,
  /** Keys of a ModelVersion and an Application. */
  version: line(1_280),
  application: line(1_280),
  /** What the version was when it was asked for; entries of older builds have none. */
  identity: z.exactOptional(
    z.strictObject({
      model: z.exactOptional(line(1_280)),
      version: z.exactOptional(line(256)),
      provider: z.exactOptional(line(256)),
      digest: z.exactOptional(line(256)),
    }),
  ),
  /** Empty: everywhere. */
  jurisdictions: z
    .array(z.string().regex(/^[A-Z]{2}(-[A-Z0-9]{1,3})?$/, "is not a jurisdiction: EU, DE, US-CA"))
    .max(64),
  /** CEL: it holds for requests for which all are true. One that cannot be evaluated is not true. */
  conditions: z.array(line(256)).max(8),
  reason: line(1_024),
  /** When it ends; absent: when it is revoked. */
  until: z.exactOptional(z.iso.datetime()),
});
const approvalGrant = z.strictObject({ type: z.literal("approval-grant"), id, reason: line(1_024) });
const approvalRevoke = z.strictObject({ type: z.literal("approval-revoke"), id, reason: line(1_024) });
const actionSchema = z.discriminatedUnion("type", [approvalRequest, approvalGrant, approvalRevoke]);

const digest = z.string().refine(isDigest, "is not a digest");
/** Checkpoints that one tells of: a log that was away for more has to be given up by hand. */
export const MAX_LINEAGE = 32;
const checkpointSchema = z.strictObject({
  type: z.literal("checkpoint"),
  /** As many entries follow at once, and say again what is still needed of all before. */
  entries: z
    .int()
    .min(0)
    .max(MAX_LOG_ENTRIES + RESERVED_LOG_ENTRIES),
  /** Digest of what they say. */
  content: digest,
  /** What was over before then is not among it. */
  closedBefore: z.iso.datetime(),
  /** The first entry of the log, then the checkpoints since, oldest first; the newest ones where they are many. */
  lineage: z
    .array(z.strictObject({ sequence: z.int().positive(), digest }))
    .min(1)
    .max(MAX_LINEAGE),
});

const entryActionSchema = z.discriminatedUnion("type", [...actionSchema.options, checkpointSchema]);

const statementSchema = z.strictObject({
  format: z.literal(1),
  /** 1, 2, 3, … */
  sequence: z.int().positive(),
  /** Digest of the statement before it; empty for the first. */
  previous: z.string().refine((text) => text === "" || isDigest(text), "is not a digest"),
  at: z.iso.datetime(),
  /** Who did it, as the signer says. */
  by: line(256),
  action: z.looseObject({ type: line(64) }),
});
const entrySchema = z.strictObject({ statement: statementSchema, signatures: statementSignatures });

export type ApprovalRequest = z.infer<typeof approvalRequest>;
/**
 * From here on the log can be read without what came before: the entries that follow say again what is still needed of it,
 * each with its own time and author, and whoever holds what came before can see that they do.
 */
export type Checkpoint = z.infer<typeof checkpointSchema>;
/** What an entry of the operational log says was done. */
export type LogAction = z.infer<typeof actionSchema>;

export interface LogStatement {
  readonly format: 1;
  readonly sequence: number;
  readonly previous: string;
  /** RFC 3339. */
  readonly at: string;
  readonly by: string;
  readonly action: LogAction | Checkpoint;
}

/** An entry that a trusted key signed. */
export interface SignedLogEntry extends Omit<LogStatement, "action" | "format"> {
  /** undefined: a checkpoint, or of a kind that this build does not know. It keeps its place, and nothing is done by it. */
  readonly action: LogAction | undefined;
  readonly checkpoint?: Checkpoint;
  readonly kind: string;
  /** Of the statement. */
  readonly digest: Digest;
  readonly signedBy: readonly string[];
  /** As it travels and is stored. */
  readonly bytes: Uint8Array;
}

/**
 * @param maximum  bytes that it may have
 * @throws ChanceryError "invalid-argument" for a statement that no reader would take
 */
export function signLogEntry(
  statement: LogStatement,
  keys: readonly SigningKey[],
  maximum = MAX_LOG_ENTRY_BYTES,
): Uint8Array {
  checkAction(statement.action);
  const parsed = statementSchema.safeParse(statement);
  if (!parsed.success) throw new ChanceryError("invalid-argument", `not a log entry: ${problemOf(parsed.error)}`);
  const signatures = signStatement("log", parsed.data, keys);
  const bytes = Buffer.from(canonicalJson({ statement: parsed.data, signatures }));
  if (bytes.length <= maximum) return bytes;
  throw new ChanceryError("invalid-argument", `${bytes.length} bytes are too many for a log entry: say it in less`);
}

/** @throws ChanceryError "invalid-argument" */
export function checkAction(action: LogAction | Checkpoint): void {
  const parsed = entryActionSchema.safeParse(action);
  if (!parsed.success) throw new ChanceryError("invalid-argument", problemOf(parsed.error));
}

/**
 * Reads and verifies an entry. Its key must not have expired when it was made; what was said stands when it has since,
 * until the trust file names the key no more.
 *
 * @param now  milliseconds since the epoch
 * @throws ChanceryError "corrupt" where it cannot be read, "untrusted" where the trust file does not cover it
 */
export function verifyLogEntry(bytes: Uint8Array, trust: Trust, now: number): SignedLogEntry {
  const { statement, signatures } = parse(bytes);
  const { sequence, previous, at, by, action } = statement;
  const what = `log entry ${sequence}`;
  const time = Date.parse(at);
  if (time > now + RESTRICTION_SKEW_MS) {
    throw new ChanceryError("untrusted", `${what} is dated ${at}, which is not yet`);
  }
  const { signedBy } = verifyStatement(what, "log", statement, signatures, { trust, now, age: "stored" });
  if (!signedBy.some((keyId) => time <= (trust.keys.get(keyId)?.notAfter ?? 0))) {
    throw new ChanceryError("untrusted", `${what} is dated ${at}, when the key that signed it had expired`);
  }
  const known = entryActionSchema.safeParse(action);
  const isKnown = entryActionSchema.options.some((option) => option.shape.type.value === action.type);
  if (isKnown && !known.success)
    throw new ChanceryError("corrupt", `${what} cannot be read: ${problemOf(known.error)}`);
  if (known.data?.type === "checkpoint" && Date.parse(known.data.closedBefore) > time) {
    throw new ChanceryError("corrupt", `${what} leaves out what was not over when it was made`);
  }
  const place = { sequence, previous, at, by, kind: action.type, digest: digestOf(canonicalJson(statement)), signedBy };
  const entry = { ...place, bytes: new Uint8Array(bytes) };
  if (known.data?.type === "checkpoint") return { ...entry, action: undefined, checkpoint: known.data };
  return { ...entry, action: known.data };
}

/** The same entry with a signature of these keys in place of those that it has. */
export function resignLogEntry(entry: SignedLogEntry, keys: readonly SigningKey[]): Uint8Array {
  const { statement } = parse(entry.bytes);
  return Buffer.from(canonicalJson({ statement, signatures: signStatement("log", statement, keys) }));
}

function parse(bytes: Uint8Array): z.infer<typeof entrySchema> {
  if (bytes.length === 0 || bytes.length > MAX_KEPT_LOG_ENTRY_BYTES) {
    throw new ChanceryError("corrupt", `a log entry has no bytes, or more than ${MAX_KEPT_LOG_ENTRY_BYTES}`);
  }
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new ChanceryError("corrupt", "a log entry is not JSON", { cause });
  }
  const parsed = entrySchema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new ChanceryError("corrupt", `a log entry cannot be read: ${problemOf(parsed.error)}`);
}

function problemOf(error: z.ZodError): string {
  return z.prettifyError(error).replaceAll(/\s+/g, " ").slice(0, 500);
}
