import { ChanceryError } from "../resources/index.ts";
import { MAX_BUS_LOG_ENTRIES, MAX_KEPT_LOG_ENTRY_BYTES } from "./bus-limits.ts";

/** What every bus says of the operational log. */

/** @throws ChanceryError "invalid-argument" */
export function checkLogEntry(entry: Uint8Array): void {
  if (entry.length > 0 && entry.length <= MAX_KEPT_LOG_ENTRY_BYTES) return;
  throw new ChanceryError(
    "invalid-argument",
    `an entry of the operational log has ${entry.length} bytes; at most ${MAX_KEPT_LOG_ENTRY_BYTES} fit`,
  );
}

export function logConflict(expected: number, newest: number): ChanceryError {
  return new ChanceryError("conflict", `the newest log entry has sequence ${newest}, not ${expected}: read it again`);
}

export function logFull(): ChanceryError {
  return new ChanceryError("unavailable", `the bus has ${MAX_BUS_LOG_ENTRIES} log entries, and no more fit`);
}
