import { setTimeout as delay } from "node:timers/promises";
import type { DecisionRecord } from "../../ext-authz/index.ts";
import { type HttpAnswer, http } from "../support/index.ts";
import type { SkewedEnvoy, SkewFleet } from "./skew-fixture.ts";
import { SERVERS } from "./skew-tree.ts";

/** An answer, and what was true when its request was sent and when it came. */
export interface SkewAnswer {
  readonly gateway: string;
  readonly path: string;
  readonly route: string;
  /** 0: none. */
  readonly status: number;
  readonly code: string;
  readonly servedBy: string;
  /** Revisions: the oldest that the Envoy can run, the newest that both decision services decided by, the newest written. */
  readonly oldest: number;
  readonly enforced: number;
  readonly newest: number;
}

const PAUSE_MS = 10;

/** Asks an Envoy again and again for all that is there, was there, and is denied. */
export function startSkewLoad(
  fleet: SkewFleet,
  envoy: SkewedEnvoy,
): { readonly answers: readonly SkewAnswer[]; stop(): Promise<void> } {
  const answers: SkewAnswer[] = [];
  let running = true;
  const loop = (async () => {
    for (let index = 0; running; index += 1) {
      const prefixes = interesting(fleet, envoy.oldest);
      const prefix = prefixes[index % prefixes.length] ?? "";
      answers.push(await askEnvoy(fleet, envoy, `${prefix}n${index}`));
      await delay(PAUSE_MS);
    }
  })();
  return {
    answers,
    stop: async () => {
      running = false;
      await loop;
    },
  };
}

/** Path prefixes that revisions since `oldest` route or deny. */
function interesting({ written }: SkewFleet, oldest: number): readonly string[] {
  const prefixes = new Set<string>();
  for (const [number, { routes, denied }] of written) {
    if (number < oldest) continue;
    for (const route of routes.keys()) prefixes.add(`/${route}/open/`);
    for (const prefix of denied) prefixes.add(prefix);
  }
  return [...prefixes];
}

let asked = 0;

/** @param path  a number is added, so that its record is found */
export async function askEnvoy(fleet: SkewFleet, envoy: SkewedEnvoy, path: string): Promise<SkewAnswer> {
  asked += 1;
  const whole = `${path}-${asked}`;
  const { oldest } = envoy;
  const enforced = fleet.enforced();
  let answer: HttpAnswer | undefined;
  try {
    answer = await http(`${envoy.url}${whole}`);
  } catch {
    // No answer is counted as such.
  }
  return {
    gateway: envoy.gateway,
    path: whole,
    route: whole.split("/")[1] ?? "",
    status: answer?.status ?? 0,
    code: answer === undefined || answer.status === 200 ? "" : codeOf(answer),
    servedBy: String(answer?.headers["x-served-by"] ?? ""),
    oldest,
    enforced,
    newest: fleet.newest().number,
  };
}

function codeOf(answer: HttpAnswer): string {
  try {
    return answer.json<{ error?: { code?: string } }>().error?.code ?? "";
  } catch {
    return "";
  }
}

/** What is wrong with an answer; undefined: it is right, or a 503 of Envoy itself, which is counted apart. @param records  of its request */
export function faultOf(fleet: SkewFleet, answer: SkewAnswer, records: readonly DecisionRecord[]): string | undefined {
  // Envoy asks again where the first decision service does not answer: each of them counts.
  for (const record of records) {
    const fault = faultOfRecord(fleet, answer, record);
    if (fault !== undefined) return fault;
  }
  const record = records.at(-1);
  if (answer.status === 404 && record === undefined) {
    const without = [...fleet.written].some(
      ([number, tree]) => number >= answer.oldest && number <= answer.newest && !tree.routes.has(answer.route),
    );
    return without ? undefined : "not found, and every revision has the route";
  }
  if (record === undefined)
    return answer.status === 0 || answer.status === 503 ? undefined : `answered by ${answer.status} without a record`;
  if (answer.status === 200) {
    const groups = fleet.layouts.get(record.layout)?.routes.get(answer.route);
    const servers = record.targets.flatMap((name) => groups?.get(name) ?? []).map((pool) => serverOf(fleet, pool));
    return servers.includes(answer.servedBy) ? undefined : `served by ${answer.servedBy}, and decided for ${servers}`;
  }
  const unavailable = answer.status === 503 || answer.status === 0;
  return answer.status === record.status || unavailable
    ? undefined
    : `answered by ${answer.status} (${answer.code}), and decided ${record.status}`;
}

function faultOfRecord(fleet: SkewFleet, answer: SkewAnswer, record: DecisionRecord): string | undefined {
  const { number } = record.revision;
  const tree = fleet.written.get(number);
  if (tree === undefined) return `decided by revision ${number}, which was not written`;
  if (number < answer.enforced) return `decided by revision ${number} after ${answer.enforced} was in force`;
  const layout = fleet.layouts.get(record.layout);
  if (layout === undefined || layout.nodeGroup !== answer.gateway) return `of layout ${record.layout}`;
  const groups = layout.routes.get(answer.route);
  if (groups === undefined) return `its layout has no route ${answer.route}`;
  const lacking = record.targets.filter((name) => !groups.has(name));
  if (lacking.length > 0) return `its layout does not have ${lacking}`;
  const denied = [...tree.denied].some((prefix) => answer.path.startsWith(prefix));
  if (record.effect === "allow") {
    if (record.targets.length === 0) return "allowed without a target";
    return denied ? `allowed, and revision ${number} denies it` : undefined;
  }
  if (record.code === "denied") return denied ? undefined : `denied, and revision ${number} allows it`;
  // A target that newer revisions do not have answers for a bounded time only.
  const gone = [...groups.values()].flat().every((pool) => !tree.pools.has(fleet.pools.get(pool) ?? ""));
  return record.code === "no_legal_target" && gone ? undefined : `refused as ${record.code}: ${record.reason}`;
}

function serverOf(fleet: SkewFleet, pool: string): string {
  const upstream = fleet.pools.get(pool) ?? "";
  const tree = [...fleet.written.values()].find(({ pools }) => pools.has(upstream));
  return SERVERS[tree?.pools.get(upstream) ?? -1] ?? "";
}
