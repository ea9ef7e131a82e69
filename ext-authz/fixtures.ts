import { createHash } from "node:crypto";
import { create, fromBinary, type JsonObject, toBinary } from "@bufbuild/protobuf";
import type { Layout, LayoutGroup, LayoutRoute } from "../compiler/index.ts";
import type { ModelFacts, ModelTarget, PolicyProgram, Target } from "../policy/index.ts";
import {
  CheckRequestSchema,
  type CheckResponse,
  CheckResponseSchema,
} from "../protos/gen/envoy/service/auth/v3/external_auth_pb.ts";
import {
  applicationFacts as application,
  modelFacts,
  modelTarget as programTarget,
  programRule as rule,
  upstreamTarget,
} from "../test/support/program.ts";
import { decodeCheck, type WireCheck } from "./check-request.ts";
import type { ActiveRevision } from "./tables.ts";

/** Building blocks for the tests of this folder. */
export { application, rule, upstreamTarget };

export const NOW = Date.parse("2026-11-21T12:00:00Z");
export const LAYOUT = "0123456789abcdef0123456789abcdef";
export const CHAT_KEY = "sk-chat-0001";
export const BATCH_KEY = "sk-batch-0001";

export interface CheckParts {
  readonly method?: string;
  readonly path?: string;
  readonly host?: string;
  readonly scheme?: string;
  /** In order; values are bytes written as latin-1. */
  readonly headers?: readonly (readonly [string, string])[];
  readonly body?: string | Uint8Array;
  readonly route?: string;
  readonly layout?: string;
  readonly claims?: JsonObject;
  readonly failed?: { readonly code: number; readonly message: string };
  readonly principal?: string;
  /** `size` that Envoy counted; the length of the body by default. */
  readonly size?: number;
  readonly rawHeaders?: boolean;
}

/** Bytes of a CheckRequest as Envoy 1.40 sends it with the generated configuration. */
export function checkBytes(parts: CheckParts = {}): Uint8Array {
  const body = typeof parts.body === "string" ? Buffer.from(parts.body) : (parts.body ?? new Uint8Array());
  const pseudo = [
    [":authority", parts.host ?? "ai.example.com"],
    [":path", parts.path ?? "/v1/chat/completions"],
    [":method", parts.method ?? "POST"],
    [":scheme", parts.scheme ?? "http"],
  ] as const;
  const headers = [...pseudo, ...(parts.headers ?? [])].map(([key, value]) => ({
    key,
    rawValue: Buffer.from(value, "latin1"),
  }));
  const jwt: JsonObject = {
    ...(parts.claims === undefined ? {} : { claims: parts.claims }),
    ...(parts.failed === undefined ? {} : { failed: { ...parts.failed } }),
  };
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
        source: { address: socket("192.0.2.7", 51_000), principal: parts.principal ?? "" },
        destination: { address: socket("192.0.2.1", 10_000) },
        contextExtensions: { route: parts.route ?? "chat/0/0", layout: parts.layout ?? LAYOUT, node_group: "edge" },
        metadataContext: { filterMetadata: { "envoy.filters.http.jwt_authn": jwt } },
        request: {
          time: { seconds: BigInt(NOW / 1000), nanos: 5_000_000 },
          http: {
            id: "4711",
            method: parts.method ?? "POST",
            path: parts.path ?? "/v1/chat/completions",
            host: parts.host ?? "ai.example.com",
            scheme: parts.scheme ?? "http",
            protocol: "HTTP/1.1",
            size: BigInt(parts.size ?? body.length),
            rawBody: body,
            ...(parts.rawHeaders === false ? {} : { headerMap: { headers } }),
          },
        },
      },
    }),
  );
}

/** As the service decodes it. */
export function check(parts: CheckParts = {}): WireCheck {
  const decoded = decodeCheck(checkBytes(parts));
  if (decoded === undefined) throw new Error("not decoded");
  return decoded;
}

export function decodeAnswer(bytes: Uint8Array): CheckResponse {
  return fromBinary(CheckResponseSchema, bytes);
}

/** `alg.payload.signature`, not signed by anybody. */
export function token(claims: object): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "ES256", kid: "k1" })}.${part(claims)}.c2lnbmF0dXJl`;
}

export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

export function model(key: string, names: readonly string[] = [key]): ModelFacts {
  return modelFacts(key, { scope: "acme", names });
}

/** The deployment `<model>-<age>` of the version `<model>@v<age>`. */
export function modelTarget(
  of: string,
  age: number,
  changes: Partial<ModelTarget> = {},
  target: Partial<Target> = {},
): Target {
  const names = {
    version: `${of}@v${age}`,
    versionName: `v${age}`,
    wireName: `wire-${changes.deployment ?? `${of}-${age}`}`,
  };
  return programTarget(of, age, { ...names, ...changes }, target);
}

export const single = (pool: string): LayoutGroup => ({ name: pool, clusters: [{ name: pool, weight: 1 }] });

export function weightedGroup(weights: Readonly<Record<string, number>>): LayoutGroup {
  return { name: "weighted", clusters: Object.entries(weights).map(([name, weight]) => ({ name, weight })) };
}

export function route(id: string, changes: Partial<LayoutRoute> & Pick<LayoutRoute, "action">): LayoutRoute {
  return {
    id,
    gateway: "edge",
    httpRoute: id.split("/")[0] ?? "",
    scope: ".",
    groups: [],
    attempts: 3,
    models: [],
    body: false,
    ...changes,
  };
}

const TARGETS = [
  modelTarget("chat", 1),
  modelTarget("chat", 2),
  modelTarget("embed", 1, { api: "openai-embeddings" }),
  upstreamTarget("web-a"),
  upstreamTarget("web-b"),
  upstreamTarget("own", { credential: "passThrough" }),
];

export const PROGRAM: PolicyProgram = {
  rules: [rule("allow-all", { effect: "allow" })],
  applications: [
    application("acme/chat", {
      apiKeys: [{ id: "chat-1", sha256: sha256(CHAT_KEY), subject: { region: "EU" } }],
      jwt: [{ issuer: "https://id.example", audiences: ["gw"], claims: { team: "chat" }, subject: { tenant: "org" } }],
    }),
    application("acme/batch", {
      durability: "bestEffort",
      apiKeys: [{ id: "batch-1", sha256: sha256(BATCH_KEY), subject: {} }],
    }),
    application("acme/public", { anonymous: true }),
  ],
  models: [model("chat", ["chat", "gpt"]), model("embed")],
  targets: TARGETS,
  approvals: [],
};

const CHAT_GROUPS = [single("model/chat-1"), single("model/chat-2")];

export const EDGE: Layout = {
  hash: LAYOUT,
  nodeGroup: "edge",
  routes: [
    route("chat/0/0", {
      action: "model",
      groups: CHAT_GROUPS,
      models: ["chat"],
      modelSource: { type: "body", pointer: "/model" },
      body: true,
    }),
    route("embed/0/0", {
      action: "model",
      groups: [single("model/embed-1")],
      models: ["embed"],
      modelSource: { type: "route" },
    }),
    route("web/0/0", {
      action: "plain",
      groups: [
        weightedGroup({ "upstream/web-a": 90, "upstream/web-b": 10 }),
        single("upstream/web-a"),
        single("upstream/web-b"),
        single("upstream/own"),
      ],
    }),
    route("own/0/0", { action: "plain", groups: [single("upstream/own")] }),
    route("moved/0/0", { action: "redirect", attempts: 1 }),
    route("edge/models/*", { action: "modelList", httpRoute: "", attempts: 1, models: ["chat", "embed"] }),
  ],
};

export function revision(changes: Partial<ActiveRevision> = {}): ActiveRevision {
  return {
    number: 7,
    digest: "sha256:77",
    createdAt: "2026-11-21T11:00:00Z",
    signedBy: ["root"],
    program: PROGRAM,
    layouts: [EDGE],
    ...changes,
  };
}
