/**
 * What Envoy is: typed builders for bootstrap, listeners, clusters and routes, the validation rules that its protos
 * carry, and the binary. In: plain data. Out: Envoy's messages, checked. Promises: nothing leaves without its floors.
 */
export { type FoundProgram, findEnvoy, findNatsServer } from "./binary.ts";
export { type BootstrapOptions, bootstrap, bootstrapJson } from "./bootstrap.ts";
export { type NodeTls, nodeCertificateSds, serverCaSds } from "./bootstrap-tls.ts";
export { blackholeCluster, endpointsOf, type Pool, type PoolEndpoint, poolCluster, usesEds } from "./cluster.ts";
export { type GrpcMethods, serviceDefinition } from "./grpc-service.ts";
export { httpConnectionManager } from "./http-connection-manager.ts";
export { hostOf, isLoopback } from "./loopback.ts";
export type { RouteMirror } from "./mirror.ts";
export * from "./names.ts";
export { bindingOf, misuse, type NodeBinding } from "./node-certificate.ts";
export { type PoolGroup, priorityGroups } from "./pool-groups.ts";
export { configured, envoyTypes, extension, pack, TYPE_URLS, typeUrl } from "./registry.ts";
export { envoyRoutes, type GovernedRoute, type HeaderChanges } from "./route.ts";
export type { AnswerBudget, RouteAction } from "./route-action.ts";
export {
  fixedCertificate,
  type KeyPair,
  mutualTls,
  type Renewable,
  type ServerCertificate,
  type ServerCertificates,
} from "./server-certificates.ts";
export {
  apiListener,
  type UngovernedPool,
  type UngovernedRoute,
  ungovernedCluster,
  ungovernedEndpoints,
  ungovernedRoutes,
} from "./ungoverned.ts";
export { removeStaleSocket, shareSocket } from "./unix-socket.ts";
export { type Violation, validate } from "./validate.ts";
export { duration, fromAds, socketAddress } from "./values.ts";
