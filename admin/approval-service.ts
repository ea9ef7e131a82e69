import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Timestamp, timestampFromDate, timestampMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { ApprovalState, ApprovalStep, OperationalLogKeeper } from "../distribution/index.ts";
import { checkCondition } from "../policy/index.ts";
import type { ApprovalSchema, ApprovalService } from "../protos/gen/chancery/admin/v1/approvals_pb.ts";
import { approvedIdentity, ChanceryError, identityProblem, type ModelVersion, suggest } from "../resources/index.ts";
import { demandRole, demandScope, type Principal, principalKey } from "./principal.ts";

export interface ApprovalApi {
  readonly log: Pick<OperationalLogKeeper, "append" | "approvals" | "refused">;
  /** Keys of the objects of a kind; undefined: not known here yet. */
  readonly names: (kind: "ModelVersion" | "Application") => ReadonlySet<string> | undefined;
  /** A version as it is now; undefined: there is none, or it is not known here yet. */
  readonly version: (key: string) => ModelVersion | undefined;
  /** Keys of approvals in force of a version for an application, but for one; of every origin. */
  readonly others: (approval: Pick<ApprovalState, "id" | "version" | "application">) => readonly string[];
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** A new "a-…". */
  readonly newId: () => string;
}

/** @param personOf  who stands behind the name of a principal */
export function approvalService(
  api: ApprovalApi,
  personOf: (name: string) => string,
): ServiceImpl<typeof ApprovalService> {
  const { log, now, newId } = api;
  const shown = (id: string): MessageInitShape<typeof ApprovalSchema> => {
    const state = log.approvals.get(id);
    if (state !== undefined) return toMessage(state, now());
    throw new ChanceryError("internal", `${id} is not in the log that it was appended to`);
  };
  return {
    requestApproval: async ({ version, application, jurisdictions, conditions, reason, until }, context) => {
      const principal = context.values.get(principalKey);
      demandRole(principal, "operator", "requester");
      demandScope(principal, version, application);
      demandKnown(api, "ModelVersion", version);
      demandKnown(api, "Application", application);
      demandEvaluable(conditions);
      const end = until === undefined ? undefined : timestampMs(until);
      demandNew(api, { version, application, jurisdictions, conditions }, end);
      const id = newId();
      const validity = end === undefined ? {} : { until: endOf(end, now()) };
      const found = api.version(version);
      const identity = found === undefined ? {} : { identity: approvedIdentity(found) };
      const request = { id, version, application, jurisdictions, conditions, reason, ...identity, ...validity };
      await log.append({ type: "approval-request", ...request }, principal.name);
      return { id };
    },
    grantApproval: async ({ id, reason }, context) => {
      const principal = context.values.get(principalKey);
      demandRole(principal, "operator", "approver");
      const known = log.approvals.get(id);
      if (known !== undefined) {
        demandScope(principal, known.version, known.application);
        demandAnother(known, principal, personOf);
        // What was asked for may be gone since.
        demandKnown(api, "ModelVersion", known.version);
        demandKnown(api, "Application", known.application);
        demandEvaluable(known.conditions);
        demandUnchanged(api, known);
      }
      await log.append({ type: "approval-grant", id, reason }, principal.name);
      return { approval: shown(id) };
    },
    revokeApproval: async ({ id, reason }, context) => {
      const principal = context.values.get(principalKey);
      demandRole(principal, "operator", "approver", "requester");
      const known = log.approvals.get(id);
      if (known !== undefined) demandScope(principal, known.version, known.application);
      await log.append({ type: "approval-revoke", id, reason }, principal.name);
      return { approval: shown(id), stillApprovedBy: known === undefined ? [] : [...api.others(known)] };
    },
    listApprovals: () => ({
      approvals: [...log.approvals.values()].map((state) => toMessage(state, now())),
      refused: log.refused(),
    }),
  };
}

function toMessage(state: ApprovalState, now: number): MessageInitShape<typeof ApprovalSchema> {
  const { id, version, application, identity, jurisdictions, conditions, until, requested, granted, revoked } = state;
  return {
    ...{ id, state: wordFor(state, now), version, application, jurisdictions, conditions, requested: step(requested) },
    ...(identity === undefined ? {} : { identity }),
    ...(until === undefined ? {} : { until: timestampFromDate(new Date(until)) }),
    ...(granted === undefined ? {} : { granted: step(granted) }),
    ...(revoked === undefined ? {} : { revoked: step(revoked) }),
  };
}

function wordFor({ until, granted, revoked }: ApprovalState, now: number): string {
  if (revoked !== undefined) return "revoked";
  if (until !== undefined && Date.parse(until) <= now) return "ended";
  return granted === undefined ? "requested" : "granted";
}

function step({ by, at, reason }: ApprovalStep) {
  const time: Timestamp = timestampFromDate(new Date(at));
  return { by, at: time, reason };
}

/** An approval for what is not there would wait for whoever gives something that name. */
function demandKnown(api: ApprovalApi, kind: "ModelVersion" | "Application", key: string): void {
  const names = api.names(kind);
  if (names === undefined) throw new ChanceryError("unavailable", "no tree is compiled here yet: ask again");
  if (names.has(key)) return;
  const below = [...names].find((name) => name.endsWith(`/${key}`));
  const hint = below === undefined ? suggest(key, [...names].sort(), "there are") : `did you mean "${below}"?`;
  throw new ChanceryError("not-found", `there is no ${kind} "${key}"${hint === undefined ? "" : `: ${hint}`}`);
}

/** Four eyes are of two people, whatever names they go by. The log itself refuses the same name. */
function demandAnother(
  { id, requested }: ApprovalState,
  principal: Principal,
  personOf: (name: string) => string,
): void {
  if (personOf(requested.by) !== principal.person) return;
  const who = requested.by === principal.name ? principal.name : `${principal.name}, who is ${requested.by},`;
  throw new ChanceryError("self-approval", `${who} requested ${id}: somebody else has to grant it`);
}

/** Whoever grants it has looked at what was asked for, and not at what took its place since. */
function demandUnchanged(api: ApprovalApi, { id, version, identity }: ApprovalState): void {
  const found = api.version(version);
  const problem = found === undefined || identity === undefined ? undefined : identityProblem(identity, found);
  if (problem === undefined) return;
  throw new ChanceryError("conflict", `${id} is not of what ${version} is now: ${problem}; request a new one`);
}

/** A condition that no decision service could evaluate would only look like one: nothing would be approved. */
function demandEvaluable(conditions: readonly string[]): void {
  for (const text of conditions) {
    const problem = checkCondition(text, "condition").find(({ severity }) => severity === "error");
    if (problem === undefined) continue;
    const hint = problem.hint === undefined ? "" : `: ${problem.hint}`;
    const what = `the condition ${JSON.stringify(text)} cannot be evaluated: ${problem.message}${hint}`;
    throw new ChanceryError("invalid-argument", `${what}; what is for people alone goes into the reason`);
  }
}

type Subject = Pick<ApprovalState, "version" | "application" | "jurisdictions" | "conditions">;

/** @throws ChanceryError "conflict" where the same is asked for already, or granted for at least as long */
function demandNew({ log, now }: ApprovalApi, subject: Subject, end: number | undefined): void {
  for (const state of log.approvals.values()) {
    if (wordFor(state, now()) === "revoked" || wordFor(state, now()) === "ended" || !isSame(state, subject)) continue;
    const lasts = state.until === undefined ? Number.POSITIVE_INFINITY : Date.parse(state.until);
    if (state.granted === undefined) {
      throw new ChanceryError("conflict", `${state.id} asks for the same: grant or revoke it first`);
    }
    if (lasts < (end ?? Number.POSITIVE_INFINITY)) continue;
    const until = state.until === undefined ? "" : ` until ${state.until}`;
    throw new ChanceryError("conflict", `it is granted by ${state.id}${until} already`);
  }
}

function isSame(one: Subject, other: Subject): boolean {
  if (one.version !== other.version || one.application !== other.application) return false;
  return isSameSet(one.jurisdictions, other.jurisdictions) && isSameSet(one.conditions, other.conditions);
}

function isSameSet(one: readonly string[], other: readonly string[]): boolean {
  const own = new Set(one);
  return own.size === other.length && other.every((text) => own.has(text));
}

function endOf(until: number, now: number): string {
  if (until <= now) throw new ChanceryError("invalid-argument", "the end of an approval lies in the future");
  // The range of a Date; beyond it there is no text for it.
  if (until <= 8.64e15) return new Date(until).toISOString();
  throw new ChanceryError("invalid-argument", "the end of an approval is no date");
}
