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
export { type Journal, type JournalOptions, type JournalState, openJournal, type Position } from "./journal.ts";
export {
  type JournalEntry,
  type JournalProblem,
  type JournalVerification,
  readJournal,
  verifyJournal,
} from "./read.ts";
export type { RecoveryFinding } from "./segments.ts";
