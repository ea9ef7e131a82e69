import { ChanceryError, type LogEntry, type OperationalLog, scopeOf } from "../resources/index.ts";
import type { ApprovalRequest, LogAction } from "./log-statement.ts";

/** What somebody did about an approval. */
export interface ApprovalStep {
  readonly by: string;
  /** RFC 3339. */
  readonly at: string;
  readonly reason: string;
}

/** An approval as the operational log tells of it. */
export interface ApprovalState extends Omit<ApprovalRequest, "type" | "reason"> {
  readonly requested: ApprovalStep;
  readonly granted?: ApprovalStep;
  readonly revoked?: ApprovalStep;
}

export type Approvals = ReadonlyMap<string, ApprovalState>;

/** An entry of the log, without what only its transport needs. */
export interface LoggedAction {
  readonly at: string;
  readonly by: string;
  readonly action: LogAction;
}

/**
 * An approval after one more action on it: requested by one, granted by another, revoked by anybody.
 *
 * @param known  the approval of this id so far
 * @throws ChanceryError "not-found", "conflict" for what was done already, "self-approval"
 */
export function applyAction(known: ApprovalState | undefined, { at, by, action }: LoggedAction): ApprovalState {
  if (action.type === "approval-request") {
    if (known !== undefined) throw new ChanceryError("conflict", `there is an approval ${action.id} already`);
    const { type, reason, ...request } = action;
    return { ...request, requested: { by, at, reason } };
  }
  if (known === undefined) throw new ChanceryError("not-found", `there is no approval ${action.id}`);
  const { revoked, granted, requested, until } = known;
  if (revoked !== undefined) {
    throw new ChanceryError(
      "conflict",
      `${action.id} was revoked by ${revoked.by} at ${revoked.at}: request a new one`,
    );
  }
  const step: ApprovalStep = { by, at, reason: action.reason };
  if (action.type === "approval-revoke") return { ...known, revoked: step };
  if (granted !== undefined) {
    throw new ChanceryError("conflict", `${action.id} was granted by ${granted.by} at ${granted.at} already`);
  }
  if (requested.by === by) {
    throw new ChanceryError("self-approval", `${by} requested ${action.id}: somebody else has to grant it`);
  }
  if (until !== undefined && Date.parse(until) <= Date.parse(at)) {
    throw new ChanceryError("conflict", `${action.id} ended at ${until}: request a new one`);
  }
  return { ...known, granted: step };
}

/**
 * The approvals that are in force, as objects that stand beside what is authored. That they end is in them.
 *
 * @param now  milliseconds since the epoch
 */
export function approvalLog(approvals: Approvals, now: number): OperationalLog {
  const entries: LogEntry[] = [];
  for (const {
    id,
    version,
    application,
    identity,
    jurisdictions,
    conditions,
    until,
    granted,
    revoked,
  } of approvals.values()) {
    if (granted === undefined || revoked !== undefined) continue;
    if (until !== undefined && Date.parse(until) <= now) continue;
    const validity = until === undefined ? {} : { validUntil: until };
    const approvers = [granted.by];
    const spec = {
      version: referenceTo(version),
      application: referenceTo(application),
      ...(identity === undefined ? {} : { identity }),
      ...{ jurisdictions: [...new Set(jurisdictions)], approvers },
      ...(conditions.length === 0 ? {} : { conditions: [...new Set(conditions)] }),
      ...validity,
    };
    const namespace = commonScope(version, application);
    const object = {
      apiVersion: "chancery.dev/v1",
      kind: "Approval",
      metadata: { name: id, namespace },
      spec,
    };
    const { at, by } = granted;
    entries.push({ sequence: entries.length + 1, at, by, operation: { type: "put", object } });
  }
  return entries;
}

function referenceTo(key: string): { readonly name: string; readonly namespace: string } {
  return { name: key.slice(key.lastIndexOf("/") + 1), namespace: scopeOf(key) };
}

/** The deepest scope that both keys are in or below: from there an approval may speak for both. */
function commonScope(one: string, other: string): string {
  const [a, b] = [one, other].map((key) => key.split("/").slice(0, -1));
  const common: string[] = [];
  for (const [index, segment] of (a ?? []).entries()) {
    if (b?.[index] !== segment) break;
    common.push(segment);
  }
  return common.length === 0 ? "." : common.join("/");
}
