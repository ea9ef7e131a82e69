import { isIP } from "node:net";
import type { Authored } from "../authored.ts";
import type { Credential, Endpoint, HealthCheck, Key, OutlierDetection, Upstream, UpstreamTls } from "../inventory.ts";
import type { Specs } from "../kinds.ts";
import { preciseHostname, type Reference } from "../schema/fields.ts";
import type { Path } from "../yaml-document.ts";
import { type Linking, metaOf } from "./linking.ts";

type Spec = Specs["Upstream"];
const REFERRER = { group: "chancery.dev", kind: "Upstream" } as const;

export function resolveUpstream(object: Authored<"Upstream">, linking: Linking): Upstream | undefined {
  const { spec } = object;
  checkEndpoints(object, linking);
  if (!spec.governed) checkUngoverned(object, linking);
  const credential = credentialOf(object, linking);
  const tls = spec.tls === undefined ? undefined : tlsOf(object, spec.tls, linking);
  if (credential === undefined) return undefined;
  return {
    ...metaOf(object),
    endpoints: spec.endpoints.map((endpoint): Endpoint => ({ ...endpoint })),
    ...(spec.ranges === undefined ? {} : { ranges: spec.ranges }),
    ...(spec.dns === undefined ? {} : { dns: spec.dns }),
    protocol: spec.protocol,
    ...(tls === undefined ? {} : { tls }),
    credential,
    ...(spec.governed ? {} : { governed: false as const }),
    loadBalancer: spec.loadBalancer,
    connectTimeoutMs: spec.connectTimeout,
    ...(spec.healthCheck === undefined ? {} : { healthCheck: healthCheckOf(object, spec.healthCheck, linking) }),
    ...(spec.outlierDetection === undefined ? {} : { outlierDetection: outlierDetectionOf(spec.outlierDetection) }),
    circuitBreakers: spec.circuitBreakers,
  };
}

function isDnsName(address: string): boolean {
  return preciseHostname.safeParse(address).success;
}

function checkEndpoints(object: Authored<"Upstream">, { problems }: Linking): void {
  const places = new Map<string, number>();
  const priorities = new Set<number>();
  const { endpoints } = object.spec;
  for (const [index, { address, port, priority }] of endpoints.entries()) {
    const at: Path = ["spec", "endpoints", index];
    if (isIP(address) === 0 && !isDnsName(address)) {
      const hint = address.includes(":") ? "the port stands in its own field" : "a DNS name is in lower case";
      problems.error(object, [...at, "address"], "invalid-value", "must be an IP address or a DNS name", hint);
    }
    const place = `${address} ${port} ${priority}`;
    const earlier = places.get(place);
    if (earlier !== undefined) {
      const message = `the same address, port and priority as endpoint ${earlier + 1}`;
      problems.error(object, [...at, "address"], "conflict", message, "add the weights up");
    } else places.set(place, index);
    priorities.add(priority);
  }
  const named = endpoints.findIndex(({ address }) => isIP(address) === 0);
  if (object.spec.ranges !== undefined && named !== -1) {
    const message = "a feed sets addresses, and this endpoint is resolved by Envoy";
    problems.error(object, ["spec", "endpoints", named, "address"], "conflict", message, "write its IP address");
  }
  if (object.spec.dns !== undefined && object.spec.ranges === undefined) {
    const message = "addresses that a name server tells may be anywhere";
    problems.error(object, ["spec", "dns"], "conflict", message, "say by ranges where they may be");
  }
  const gap = [...priorities].sort((a, b) => a - b).find((priority, index) => priority !== index);
  if (gap !== undefined) {
    const index = endpoints.findIndex(({ priority }) => priority === gap);
    const message = `priority ${gap} is used, but not every priority before it`;
    problems.error(
      object,
      ["spec", "endpoints", index, "priority"],
      "conflict",
      message,
      "priorities run from 0 without a gap",
    );
  }
}

/** Clients without floors are given no secrets, and gRPC knows neither SDS nor names among endpoints. */
function checkUngoverned({ spec, ...rest }: Authored<"Upstream">, { problems }: Linking): void {
  const object = { ...rest, spec };
  const refuse = (at: Path, what: string, hint: string) =>
    problems.error(object, at, "conflict", `an upstream that is not governed cannot have ${what}`, hint);
  const hint = "remove it, or make the upstream governed";
  if (spec.credential.mode === "inject") refuse(["spec", "credential", "mode"], "an injected credential", hint);
  if (spec.tls !== undefined) refuse(["spec", "tls"], "TLS settings", hint);
  for (const [index, { address }] of spec.endpoints.entries()) {
    if (isIP(address) !== 0) continue;
    refuse(["spec", "endpoints", index, "address"], "endpoints by name", "write their IP addresses");
  }
}

function tlsOf(object: Authored<"Upstream">, tls: NonNullable<Spec["tls"]>, linking: Linking): UpstreamTls {
  const { problems } = linking;
  const at: Path = ["spec", "tls"];
  const subjectAltNames = tls.subjectAltNames ?? defaultNames(object.spec, tls.sni);
  for (const [index, name] of (tls.subjectAltNames ?? []).entries()) {
    if (!name.startsWith("*.")) continue;
    const hint = 'an exact name is also found in a certificate for "*.…"';
    problems.error(
      object,
      [...at, "subjectAltNames", index],
      "invalid-value",
      "must be a DNS name without wildcard",
      hint,
    );
  }
  if (subjectAltNames.length === 0) {
    const message = "nothing says which name the certificate must carry";
    problems.errorAtKey(object, at, "missing-field", message, "write tls.sni or tls.subjectAltNames");
  }
  const ca =
    tls.ca === undefined
      ? undefined
      : ofType(
          object,
          "ca",
          linking.references.upwards(object, "Secret", tls.ca, [...at, "ca"]),
          [...at, "ca"],
          linking,
        );
  const certificateAt = [...at, "clientCertificate"];
  const clientCertificate =
    tls.clientCertificate === undefined
      ? undefined
      : ofType(
          object,
          "tls",
          confidential(object, tls.clientCertificate, certificateAt, linking),
          certificateAt,
          linking,
        );
  return {
    ...(tls.sni === undefined ? {} : { sni: tls.sni }),
    subjectAltNames: [...new Set(subjectAltNames)],
    ...(ca === undefined ? {} : { ca }),
    ...(clientCertificate === undefined ? {} : { clientCertificate }),
  };
}

/** What the client asks for by name, the certificate has to carry. */
function defaultNames(spec: Spec, sni: string | undefined): readonly string[] {
  if (sni !== undefined) return [sni];
  const names = spec.endpoints.map(({ address, hostname }) => hostname ?? (isIP(address) === 0 ? address : undefined));
  // An endpoint without any name would be accepted under another one's.
  return names.every((name) => name !== undefined) ? names : [];
}

function credentialOf(object: Authored<"Upstream">, linking: Linking): Credential | undefined {
  const { credential } = object.spec;
  if (credential.mode !== "inject") return credential;
  const at = ["spec", "credential", "secret"];
  const secret = ofType(object, "opaque", confidential(object, credential.secret, at, linking), at, linking);
  const header = credential.header.toLowerCase();
  if (/^(host|content-length|transfer-encoding|connection)$/.test(header) || /^x-(chancery|envoy)-/.test(header)) {
    const place = ["spec", "credential", "header"];
    linking.problems.error(object, place, "unsupported", `a credential cannot be written to header ${header}`);
  }
  const prefix = credential.prefix ?? (header === "authorization" ? "Bearer " : "");
  return secret === undefined ? undefined : { mode: "inject", secret, header, prefix };
}

/** Who could use a secret of another scope could also send it anywhere: so that scope has to grant it. */
function confidential(
  object: Authored<"Upstream">,
  ref: Reference,
  at: Path,
  { references }: Linking,
): Key | undefined {
  return references.granted(object, REFERRER, "Secret", ref, at);
}

function ofType(
  object: Authored<"Upstream">,
  type: Specs["Secret"]["type"],
  key: Key | undefined,
  at: Path,
  { references, problems }: Linking,
): Key | undefined {
  const secret = key === undefined ? undefined : references.object("Secret", key);
  if (secret === undefined || secret.spec.type === type) return key;
  problems.error(
    object,
    at,
    "conflict",
    `Secret "${key}" is of type ${secret.spec.type}`,
    `here it must be of type ${type}`,
  );
  return undefined;
}

function healthCheckOf(
  object: Authored<"Upstream">,
  check: NonNullable<Spec["healthCheck"]>,
  { problems }: Linking,
): HealthCheck {
  const { interval, timeout, ...rest } = check;
  if (timeout > interval) {
    problems.error(object, ["spec", "healthCheck", "timeout"], "conflict", "timeout must not be longer than interval");
  }
  return { ...rest, intervalMs: interval, timeoutMs: timeout };
}

function outlierDetectionOf(detection: NonNullable<Spec["outlierDetection"]>): OutlierDetection {
  const { interval, baseEjection, ...rest } = detection;
  return { ...rest, intervalMs: interval, baseEjectionMs: baseEjection };
}
