/**
 * What tests of several folders need: real processes with their output, a real Envoy, clients, a bounded load,
 * certificates and tokens. Everything with a lifetime has `close()`; `closeAtEnd` ties it to the running test.
 */
export {
  type CertificateAuthority,
  createCertificateAuthority,
  type KeyedCertificate,
} from "./certificates.ts";
export { runChancery, startChancery } from "./chancery.ts";
export { Closables } from "./closables.ts";
export { type Closable, closeAtEnd } from "./close-at-end.ts";
export { type DnsRecord, type DnsServer, startDnsServer } from "./dns-server.ts";
export { type EnvoyOptions, type RunningEnvoy, startEnvoy } from "./envoy.ts";
export { freePort, freePorts } from "./free-port.ts";
export { createGrpcEchoClient, type GrpcChat, type GrpcEcho, type GrpcEchoClient, startGrpcEcho } from "./grpc-echo.ts";
export {
  type HttpAnswer,
  type HttpRequest,
  http,
  keepAliveAgent,
  type OpenAnswer,
  openHttp,
  rawHttp,
} from "./http-client.ts";
export { type Answer, type Load, runInTurns, runLoad } from "./load.ts";
export { type NatsOptions, type RunningNats, startNats } from "./nats.ts";
export { type OlderEnvoy, olderEnvoy } from "./older-envoy.ts";
export { save } from "./save.ts";
export { seeded } from "./seeded.ts";
export { type Ending, runProcess, type SpawnedProcess, type SpawnOptions, spawnProcess } from "./spawn-process.ts";
export { startTcpRelay, type TcpRelay } from "./tcp-relay.ts";
export { temporaryDirectory } from "./temporary-directory.ts";
export { createTokenIssuer, type TokenIssuer, type TokenOptions } from "./tokens.ts";
export { waitFor } from "./wait-for.ts";
