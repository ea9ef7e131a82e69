/**
 * In: the state of a process (readiness, metrics) and of the control plane (status). Out: an HTTP server that tells it,
 * and the client of its API. Promises: reads only, no secret in any answer, on loopback unless told otherwise.
 */
export { type GetStatusResponse, GetStatusResponseSchema } from "../protos/gen/chancery/admin/v1/admin_pb.ts";
export { type AdminClientOptions, getStatus } from "./client.ts";
export { addStatusMetrics, createRegistry } from "./metrics.ts";
export { type AdminServer, type AdminServerOptions, isLoopback, startAdminServer } from "./server.ts";
export type { ControlStatus, DecisionServiceFacts, NodeFacts } from "./status.ts";
