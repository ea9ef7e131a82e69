import type { JournalRecord } from "../ext-authz/index.ts";
import { ChanceryError } from "../resources/index.ts";
import { type JournalOptions, type JournalState, openJournal } from "./journal.ts";
import { readJournal } from "./read.ts";
import type { RecoveryFinding } from "./segments.ts";

/** That a restriction (kill switch) came into force here, or was lifted: decisions from now on are made under it. */
export interface RestrictionRecord {
  readonly format: 1;
  readonly kind: "restriction";
  /** RFC 3339 with milliseconds; when it was taken in here. */
  readonly at: string;
  readonly service: string;
  /** As it was signed. */
  readonly statement: Readonly<Record<string, unknown>>;
  readonly signedBy: readonly string[];
}

/** What is in the journal of a decision service. */
export type AuditRecord = JournalRecord | RestrictionRecord;

/** The journal of a decision service: JSON records, one a frame. */
export interface DecisionJournal {
  readonly findings: readonly RecoveryFinding[];
  /** Resolves when the record is durable. */
  append(record: AuditRecord): Promise<void>;
  state(): JournalState;
  close(): Promise<void>;
}

export async function openDecisionJournal(options: JournalOptions): Promise<DecisionJournal> {
  const journal = await openJournal(options);
  return {
    findings: journal.findings,
    append: async (record) => {
      await journal.append(Buffer.from(JSON.stringify(record)));
    },
    state: () => journal.state(),
    close: () => journal.close(),
  };
}

/**
 * Decisions in the order in which they were made.
 *
 * @param from  sequence of the first one wanted
 * @throws ChanceryError "unsupported-format" for a record of a newer build, "corrupt" for one that is no JSON
 */
export async function* readDecisions(
  directory: string,
  from = 1,
): AsyncGenerator<{ readonly sequence: number; readonly record: AuditRecord }> {
  for await (const { sequence, payload, segment } of readJournal(directory, from)) {
    yield { sequence, record: parse(payload, `record ${sequence} in ${segment}`) };
  }
}

function parse(payload: Uint8Array, what: string): AuditRecord {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(payload).toString("utf8"));
  } catch (cause) {
    throw new ChanceryError("corrupt", `${what} is not JSON`, { cause });
  }
  if (typeof value !== "object" || value === null || !("format" in value)) {
    throw new ChanceryError("corrupt", `${what} is no decision record`);
  }
  if (value.format !== 1) {
    throw new ChanceryError("unsupported-format", `${what} has format ${value.format}; this build reads format 1`);
  }
  // The bytes are chained and checked, and this folder wrote them: their shape is not checked field by field.
  return value as AuditRecord;
}
