import type { Subject } from "../problems.ts";
import { timestampMs } from "../timestamps.ts";
import type { Path } from "../yaml-document.ts";
import type { Linking } from "./linking.ts";

/** A span of time; a bound that is absent does not bound. */
interface Validity {
  readonly validFrom?: string;
  readonly validUntil?: string;
}

export function checkValidity(object: Subject, { validFrom, validUntil }: Validity, at: Path, linking: Linking): void {
  if (validFrom === undefined || validUntil === undefined) return;
  if (timestampMs(validFrom) < timestampMs(validUntil)) return;
  linking.problems.error(object, [...at, "validUntil"], "conflict", "validUntil must be later than validFrom");
}
