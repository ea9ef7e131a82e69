import { hash } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import type { Layout } from "../../compiler/index.ts";
import type { ActiveRevision } from "../../ext-authz/index.ts";
import type { ApplicationFacts, PolicyProgram, ProgramRule, Target } from "../../policy/index.ts";
import { CheckRequestSchema } from "../../protos/gen/envoy/service/auth/v3/external_auth_pb.ts";

/**
 * The rules of the baseline and requests for them. Rules: tenant equality, method, path prefix in whole segments, and
 * region in a list or a role; ten a tenant, of which two deny; beside them two restrict rules for each of two targets.
 * Requests: CheckRequests of 1 KB, spread over tenants, methods, resources, regions and roles.
 */

const RULES_PER_TENANT = 10;
const ISSUER = "https://id.example";
export const NOW = Date.parse("2026-11-21T12:00:00Z");
const METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH"];
const RESOURCES = ["orders", "invoices", "users", "reports", "files"];
const REGIONS = ["eu-west", "eu-north", "us-east", "us-west", "ap-south"];

/** Whether the index of rules can tell which of them a request concerns. */
export type Kind = "indexable" | "not indexable";

/** Rule `index` of the baseline. */
export function ruleOf(index: number, kind: Kind): ProgramRule {
  const tenant = `t${Math.floor(index / RULES_PER_TENANT)}`;
  const number = index % RULES_PER_TENANT;
  const base = `/api/${RESOURCES[number % RESOURCES.length]}`;
  const regions = [REGIONS[number % 5], REGIONS[(number + 1) % 5], REGIONS[(number + 2) % 5]];
  const owner = kind === "indexable" ? `subject.tenant == "${tenant}"` : `subject.tenant.endsWith("${tenant}")`;
  const conditions =
    kind === "indexable"
      ? [
          `request.method == "${METHODS[number % METHODS.length]}"`,
          `(request.url_path == "${base}" || request.url_path.startsWith("${base}/"))`,
        ]
      : [`!(request.method != "${METHODS[number % METHODS.length]}")`, `request.url_path.contains("${base}/")`];
  return {
    id: `bench/r${index}`,
    scope: ".",
    mode: "enforce",
    effect: number >= 8 ? "deny" : "allow",
    when: [
      owner,
      ...conditions,
      `(subject.region in ${JSON.stringify(regions)} || "admin" in subject.claims.roles)`,
    ].join(" && "),
    reason: "the baseline",
    references: [],
  };
}

const TARGETS: readonly Target[] = ["a", "b"].map((name) => ({
  pool: `upstream/${name}`,
  kind: "upstream",
  upstream: name,
  labels: { place: name === "a" ? "eu" : "us" },
  credential: "none",
}));

function restriction(id: string, require: string): ProgramRule {
  return { id, scope: ".", mode: "enforce", effect: "restrict", require, reason: "the baseline", references: [] };
}

const APPLICATION: ApplicationFacts = {
  key: "bench",
  scope: ".",
  mode: "enforce",
  purpose: "",
  riskTier: "limited",
  dataClasses: ["pii"],
  jurisdictions: ["EU"],
  minimumScores: [],
  durability: "bestEffort",
  substitutes: [],
  apiKeys: [],
  jwt: [{ issuer: ISSUER, audiences: [], claims: {}, subject: { tenant: "tenant", region: "region" } }],
  anonymous: false,
  labels: {},
};

/** So many rules of the baseline, and what they need. */
export function programOf(rules: number, kind: Kind): PolicyProgram {
  return {
    rules: [
      ...Array.from({ length: rules }, (_, index) => ruleOf(index, kind)),
      restriction("bench/place", `target.labels.place != "us" || subject.region != "nowhere"`),
      restriction("bench/kind", `target.kind == "upstream" && !("secret" in application.dataClasses)`),
    ],
    applications: [APPLICATION],
    models: [],
    targets: TARGETS,
    approvals: [],
  };
}

export const LAYOUT: Layout = {
  hash: "0123456789abcdef0123456789abcdef",
  nodeGroup: "edge",
  routes: [
    {
      id: "web/0/0",
      gateway: "edge",
      httpRoute: "web",
      scope: ".",
      action: "plain",
      groups: TARGETS.map(({ pool }) => ({ name: pool, clusters: [{ name: pool, weight: 1 }] })),
      attempts: 2,
      models: [],
      body: false,
    },
  ],
};

export function revisionOf(program: PolicyProgram): ActiveRevision {
  const createdAt = "2026-11-21T11:00:00Z";
  return { number: 1, digest: "sha256:0", createdAt, signedBy: ["bench"], program, layouts: [LAYOUT] };
}

/** Input `index` of those for so many rules: spread over tenants, methods, resources, regions and roles. */
export function requestOf(index: number, rules: number, id = index): Uint8Array {
  const tenants = Math.max(1, rules / RULES_PER_TENANT);
  const method = METHODS[index % METHODS.length] ?? "GET";
  const path = `/api/${RESOURCES[index % RESOURCES.length]}/${id}`;
  const claims = {
    iss: ISSUER,
    sub: `user-${index}`,
    aud: "gateway",
    exp: NOW / 1000 + 600,
    tenant: `t${(index * 7) % tenants}`,
    region: REGIONS[(index >> 3) % REGIONS.length] ?? "",
    roles: index % 11 === 0 ? ["user", "admin"] : ["user", "reader"],
  };
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  // As long and as random as a signature by ES256.
  const signature = hash("sha512", String(index), "base64url");
  const token = `${part({ alg: "ES256", kid: "k1" })}.${part(claims)}.${signature}`;
  const headers = [
    [":authority", "api.example.com"],
    [":path", path],
    [":method", method],
    [":scheme", "https"],
    ["user-agent", "bench/1.0"],
    ["accept", "application/json"],
    ["authorization", `Bearer ${token}`],
    ["x-forwarded-for", "192.0.2.7"],
    ["x-forwarded-proto", "https"],
    ["x-request-id", `00000000-0000-4000-8000-${String(id).padStart(12, "0")}`],
  ] as const;
  const socket = (address: string, port: number) => ({
    address: {
      case: "socketAddress" as const,
      value: { address, portSpecifier: { case: "portValue" as const, value: port } },
    },
  });
  return toBinary(
    CheckRequestSchema,
    create(CheckRequestSchema, {
      attributes: {
        source: { address: socket("192.0.2.7", 51_000) },
        destination: { address: socket("192.0.2.1", 10_000) },
        contextExtensions: { route: "web/0/0", layout: LAYOUT.hash, node_group: "edge" },
        metadataContext: { filterMetadata: { "envoy.filters.http.jwt_authn": { claims } } },
        request: {
          time: { seconds: BigInt(NOW / 1000), nanos: 0 },
          http: {
            id: String(id),
            method,
            path,
            host: "api.example.com",
            scheme: "https",
            protocol: "HTTP/2",
            headerMap: { headers: headers.map(([key, value]) => ({ key, rawValue: Buffer.from(value) })) },
          },
        },
      },
    }),
  );
}
