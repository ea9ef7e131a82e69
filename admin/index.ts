/**
 * In: the state of a process (readiness, metrics) and of the control plane (status), restrictions. Out: an HTTP server
 * that tells it, takes restrictions, and the client of its API. Promises: no secret in any answer, off loopback nothing
 * without a token.
 */
export {
  type GetStatusResponse,
  GetStatusResponseSchema,
  type Latency,
  type NodeStatus,
} from "../protos/gen/chancery/admin/v1/admin_pb.ts";
export {
  type AdminClientOptions,
  getStatus,
  giveRestriction,
  liftRestriction,
  listRestrictions,
} from "./client.ts";
export { addStatusMetrics, createRegistry } from "./metrics.ts";
export { isRestrictionKind, type RestrictionApi, type RestrictionKind } from "./restriction-service.ts";
export { type AdminServer, type AdminServerOptions, isLoopback, startAdminServer } from "./server.ts";
export type { ControlStatus, DecisionServiceFacts, NodeFacts, RegionFacts, XdsServerFacts } from "./status.ts";
