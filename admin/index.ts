/**
 * In: the state of a process (readiness, metrics) and of the control plane (status), restrictions, approvals. Out: an HTTP
 * server that tells it, takes restrictions and approvals, and the client of its API. Promises: no secret in any answer, off
 * loopback nothing without TLS and no API without a token, no approval by one person alone.
 */

export {
  type GetStatusResponse,
  GetStatusResponseSchema,
  type Latency,
  type NodeStatus,
} from "../protos/gen/chancery/admin/v1/admin_pb.ts";
export type { Approval, ApprovalStep, ApprovedIdentity } from "../protos/gen/chancery/admin/v1/approvals_pb.ts";
export {
  type ListRestrictionsResponse,
  ListRestrictionsResponseSchema,
} from "../protos/gen/chancery/admin/v1/restrictions_pb.ts";
export { grantApproval, listApprovals, requestApproval, revokeApproval } from "./approval-client.ts";
export type { ApprovalApi } from "./approval-service.ts";
export {
  getStatus,
  giveRestriction,
  liftRestriction,
  listRestrictions,
} from "./client.ts";
export { type AdminClientOptions, adminUrl, getPage } from "./client-transport.ts";
export { compactLog, type LogApi } from "./log-service.ts";
export { addKeyMetrics, addRestrictionMetrics, addStatusMetrics, createRegistry } from "./metrics.ts";
export type { Credential } from "./principal.ts";
export { parsePrincipals } from "./principals-file.ts";
export { isRestrictionKind, type RestrictionApi, type RestrictionKind } from "./restriction-service.ts";
export { type AdminServer, type AdminServerOptions, startAdminServer } from "./server.ts";
export type {
  ControlStatus,
  DecisionServiceFacts,
  KeyFacts,
  LogFacts,
  NodeFacts,
  RegionFacts,
  XdsServerFacts,
} from "./status.ts";
