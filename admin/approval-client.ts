import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import {
  type Approval,
  ApprovalService,
  type ListApprovalsResponse,
  type RequestApprovalRequestSchema,
} from "../protos/gen/chancery/admin/v1/approvals_pb.ts";
import { ChanceryError } from "../resources/index.ts";
import { asking } from "./client.ts";
import { type AdminClientOptions, transportTo } from "./client-transport.ts";

/** Asks a control plane for an approval. @returns its id; @throws ChanceryError with the code that was answered */
export async function requestApproval(
  options: AdminClientOptions,
  request: MessageInitShape<typeof RequestApprovalRequestSchema>,
): Promise<string> {
  const { id } = await asking(options, "not requested", (call) => at(options).requestApproval(request, call));
  return id;
}

export async function grantApproval(options: AdminClientOptions, id: string, reason: string): Promise<Approval> {
  const answer = await asking(options, "not granted", (call) => at(options).grantApproval({ id, reason }, call));
  return answered(options, answer.approval);
}

/** @returns it, and the keys of other approvals by which the version may go on to answer */
export async function revokeApproval(
  options: AdminClientOptions,
  id: string,
  reason: string,
): Promise<Approval & { readonly stillApprovedBy: readonly string[] }> {
  const answer = await asking(options, "not revoked", (call) => at(options).revokeApproval({ id, reason }, call));
  return { ...answered(options, answer.approval), stillApprovedBy: answer.stillApprovedBy };
}

export async function listApprovals(options: AdminClientOptions): Promise<ListApprovalsResponse> {
  return await asking(options, "no list", (call) => at(options).listApprovals({}, call));
}

function at(options: AdminClientOptions): Client<typeof ApprovalService> {
  return createClient(ApprovalService, transportTo(options));
}

function answered({ control }: AdminClientOptions, approval: Approval | undefined): Approval {
  if (approval !== undefined) return approval;
  throw new ChanceryError("corrupt", `${control} answered without the approval`);
}
