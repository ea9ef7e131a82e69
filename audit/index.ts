/**
 * In: decision records. Out: a journal on disk that others can verify. Promises: an append that resolved is durable, a
 * crash loses nothing that was acknowledged, and no record can be changed, dropped or put in between unseen.
 */
export {
  type AuditRecord,
  type DecisionJournal,
  openDecisionJournal,
  type RestrictionRecord,
  readDecisions,
} from "./decision-journal.ts";
export type { Journal, JournalState, Position } from "./journal.ts";
export { type JournalProblem, type JournalVerification, verifyJournal } from "./read.ts";
export type { RecoveryFinding } from "./segments.ts";
