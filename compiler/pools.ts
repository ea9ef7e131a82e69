import { CREDENTIAL_HEADERS, type Pool } from "../envoy/index.ts";
import type { Deployment, Inventory, Key, Upstream } from "../resources/index.ts";
import { modelPoolName, upstreamPoolName } from "./program.ts";

/** SDS name of a Secret. */
export function secretName(secret: Key): string {
  return `secret/${secret}`;
}

/** A request header that some upstreams take credentials from, besides those in which ours come. */
const OTHER_CREDENTIAL_HEADERS = ["proxy-authorization", "x-goog-api-key"];

/**
 * Header names that every pool of a chain removes before it sets its own: what one hop's filters do to the headers is
 * still there on the next hop, so each pool has to clear the same set.
 */
export function credentialHeaders(inventory: Inventory): string[] {
  const injected = inventory.upstreams.flatMap((upstream) =>
    upstream.credential.mode === "inject" ? [upstream.credential.header.toLowerCase()] : [],
  );
  return [...new Set([...CREDENTIAL_HEADERS, ...OTHER_CREDENTIAL_HEADERS, ...injected])].sort();
}

export function modelPool(deployment: Deployment, upstream: Upstream, removedHeaders: readonly string[]): Pool {
  // A model server never gets the client's own credential: the pools of a chain belong to different providers.
  return { ...poolOf(upstream), name: modelPoolName(deployment.key), poolClass: "model", removedHeaders };
}

export function plainPool(upstream: Upstream, removedHeaders: readonly string[]): Pool {
  return {
    ...poolOf(upstream),
    name: upstreamPoolName(upstream.key),
    poolClass: "plain",
    removedHeaders: upstream.credential.mode === "passThrough" ? [] : removedHeaders,
  };
}

function poolOf(upstream: Upstream): Omit<Pool, "name" | "poolClass" | "removedHeaders"> {
  const { credential, tls } = upstream;
  return {
    endpoints: upstream.endpoints,
    protocol: upstream.protocol,
    loadBalancer: upstream.loadBalancer,
    connectTimeoutMs: upstream.connectTimeoutMs,
    ...(tls === undefined
      ? {}
      : {
          tls: {
            ...(tls.sni === undefined ? {} : { sni: tls.sni }),
            subjectAltNames: tls.subjectAltNames,
            ...(tls.ca === undefined ? {} : { ca: secretName(tls.ca) }),
            ...(tls.clientCertificate === undefined ? {} : { clientCertificate: secretName(tls.clientCertificate) }),
          },
        }),
    ...(credential.mode === "inject"
      ? {
          injected: {
            secret: secretName(credential.secret),
            header: credential.header,
            prefix: credential.prefix,
          },
        }
      : {}),
    ...(upstream.healthCheck === undefined ? {} : { healthCheck: upstream.healthCheck }),
    ...(upstream.outlierDetection === undefined ? {} : { outlierDetection: upstream.outlierDetection }),
    circuitBreakers: upstream.circuitBreakers,
  };
}
