import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type AdminClientOptions,
  type GetStatusResponse,
  getStatus,
  type ListRestrictionsResponse,
  listRestrictions,
} from "../admin/index.ts";
import { ChanceryError } from "../resources/index.ts";
import type { Purpose, Trust } from "../revision/index.ts";

/** What stands under a key for as long as the key is believed; a revision is published anew. */
const LASTING: readonly Purpose[] = ["restriction", "log"];

const REMEDY = "--drop-signed retires it all the same, and what it alone signed counts no more";

/**
 * Asks a control plane what hangs on keys that are to be retired: what they closed must not open by it.
 *
 * @param trust  of now, with the keys
 * @returns lines for people: what else changes
 * @throws ChanceryError "conflict" where something does, or "unavailable" where nobody says so
 */
export async function demandNothingHangs(
  client: AdminClientOptions,
  trust: Trust,
  retire: readonly string[],
  now: number,
): Promise<readonly string[]> {
  const lasting = retire.filter((id) => LASTING.some((purpose) => trust.keys.get(id)?.purposes.has(purpose)));
  if (lasting.length === 0) return [];
  let status: GetStatusResponse;
  let listed: ListRestrictionsResponse;
  try {
    [status, listed] = [await getStatus(client), await listRestrictions(client)];
  } catch (thrown) {
    const { code, message } = ChanceryError.from(thrown, "unavailable");
    const ask = "a control plane has to say what hangs on the key (--server)";
    throw new ChanceryError(code, `nothing is retired: ${ask}: ${message}; ${REMEDY}`, { cause: thrown });
  }
  const { problems, notes } = whatHangs(status, listed, trust, lasting, now);
  if (problems.length === 0) return notes;
  throw new ChanceryError("conflict", `nothing is retired: ${problems.join("; ")} (${REMEDY})`);
}

/** @param retire  keys with a purpose that lasts */
export function whatHangs(
  status: Pick<GetStatusResponse, "keys">,
  listed: Pick<ListRestrictionsResponse, "restrictions">,
  trust: Trust,
  retire: readonly string[],
  now: number,
): { readonly problems: readonly string[]; readonly notes: readonly string[] } {
  const problems: string[] = [];
  const notes: string[] = [];
  const stays = (id: string, purpose: Purpose): boolean =>
    !retire.includes(id) && trust.keys.get(id)?.purposes.has(purpose) === true;
  for (const id of retire) {
    if (!status.keys.some((key) => key.id === id)) problems.push(`the control plane that was asked knows no key ${id}`);
  }
  for (const purpose of LASTING) {
    const isRetired = retire.some((id) => trust.keys.get(id)?.purposes.has(purpose));
    if (!isRetired || status.keys.some((key) => key.signsHere && stays(key.id, purpose))) continue;
    const what = purpose === "log" ? "approvals" : "restrictions";
    problems.push(`control signs ${what} with no key that stays: start it with another one first`);
  }
  for (const { id, kind, value, signedBy, until, lifted } of listed.restrictions) {
    const end = until === undefined ? Number.POSITIVE_INFINITY : timestampMs(until);
    if (end <= now) continue;
    const what = `${id} (${kind} ${value})`;
    if (lifted === undefined) {
      if (signedBy.some((key) => stays(key, "restriction"))) continue;
      problems.push(`${what} is out of use by what it signed, and would be open again: renew it with another key`);
    } else if (!lifted.signedBy.some((key) => stays(key, "restriction"))) {
      const time = Number.isFinite(end) ? ` until ${new Date(end).toISOString()}` : "";
      notes.push(`${what} was lifted by it alone: out of use again${time}, from the next start of each process`);
    }
  }
  return { problems, notes };
}
