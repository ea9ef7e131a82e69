import type { Subject } from "../problems.ts";
import { timestampMs } from "../timestamps.ts";
import type { Path } from "../yaml-document.ts";
import type { Linking } from "./linking.ts";

/** A span of time; a bound that is absent does not bound. */
interface Validity {
  readonly validFrom?: string;
  readonly validUntil?: string;
}

/** A span of time in which something is in force. */
interface Period {
  readonly effectiveFrom?: string;
  readonly effectiveTo?: string;
}

export function checkPeriod(object: Subject, { effectiveFrom, effectiveTo }: Period, at: Path, linking: Linking): void {
  if (effectiveFrom === undefined || effectiveTo === undefined) return;
  if (timestampMs(effectiveFrom) < timestampMs(effectiveTo)) return;
  linking.problems.error(object, [...at, "effectiveTo"], "conflict", "effectiveTo must be later than effectiveFrom");
}

export function checkValidity(object: Subject, { validFrom, validUntil }: Validity, at: Path, linking: Linking): void {
  if (validFrom === undefined || validUntil === undefined) return;
  if (timestampMs(validFrom) < timestampMs(validUntil)) return;
  linking.problems.error(object, [...at, "validUntil"], "conflict", "validUntil must be later than validFrom");
}
