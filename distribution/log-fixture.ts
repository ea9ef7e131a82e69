import type { LogAction } from "./log-statement.ts";

/** What tests of the operational log append: an approval by its number, and what becomes of it. */

export function approvalId(index: number): string {
  return `a-${String(index).padStart(16, "0")}`;
}

export function request(index: number, more: object = {}): LogAction {
  return {
    ...{ type: "approval-request", id: approvalId(index), version: "team/atlas-v1", application: "team/sub/assistant" },
    ...{ jurisdictions: [], conditions: [], reason: "needed" },
    ...more,
  };
}

export function grant(index: number): LogAction {
  return { type: "approval-grant", id: approvalId(index), reason: "tested" };
}

export function revoke(index: number): LogAction {
  return { type: "approval-revoke", id: approvalId(index), reason: "wrong" };
}
