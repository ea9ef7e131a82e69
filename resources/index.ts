/**
 * In: YAML that people wrote, and the operational log. Out: an `Inventory`, validated and cross-referenced plain data,
 * or every problem at once with file:line:column and a hint. Promises: no partial inventory without its problems.
 */

export { type ApprovedIdentity, approvedIdentity, identityProblem } from "./approval-checks.ts";
export type * from "./compliance.ts";
export { AGREEMENT_KINDS, GENERAL_PURPOSE } from "./compliance.ts";
export { formatDuration, parseDuration } from "./durations.ts";
export { ChanceryError, ERROR_CODES, type ErrorCode } from "./error.ts";
export { type FreezeOptions, type FreezeResult, type FrozenScope, freeze } from "./freeze.ts";
export type * from "./inventory.ts";
export { type JSONSchema, jsonSchemas } from "./json-schema.ts";
export { KIND_NAMES, type Kind } from "./kinds.ts";
export type * from "./law-pack.ts";
export type { LoadResult } from "./link.ts";
export { ParseCache, parseResources } from "./load.ts";
export { checkFiles, type LoadedDirectory, loadDirectory } from "./load-directory.ts";
export { MATURITIES } from "./models.ts";
export type { LogEntry, LogOperation, OperationalLog } from "./operational-log.ts";
export type { Positions } from "./positions.ts";
export { printable, printableLines } from "./printable.ts";
export { formatProblem, type Problem, type SourcePosition } from "./problem.ts";
export { type KnownTree, readTree, type SettledReading } from "./read-tree.ts";
export {
  identityOf,
  type RegisteredVersion,
  registeredVersion,
  registryProblems,
} from "./registry.ts";
export { type ResourceFiles, resourceFiles, scopeChain, scopeOf } from "./resource-files.ts";
export { SCOPE_PATTERN } from "./schema/fields.ts";
export { suggest } from "./suggest.ts";
export { timestampMs } from "./timestamps.ts";
export type { Path } from "./yaml-document.ts";
