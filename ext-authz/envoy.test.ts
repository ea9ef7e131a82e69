import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { Registry } from "prom-client";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { compilePolicy } from "../policy/index.ts";
import { type Closable, http, type RunningEnvoy, rawHttp, startEnvoy } from "../test/support/index.ts";
import { CHAT_KEY, EDGE, NOW, PROGRAM, revision, rule } from "./fixtures.ts";
import type { DecisionRecord, JournalRecord } from "./record.ts";
import { type DecisionServer, serveDecisions } from "./server.ts";
import { createDecisionService, type DecisionService } from "./service.ts";

/** The decision service behind a real Envoy with the filters and the kind of routes that are generated. */

const ENVOY = fileURLToPath(new URL("../.tools/envoy-1.40.0/envoy", import.meta.url));
const type = (name: string) => `type.googleapis.com/envoy.extensions.${name}`;
const address = (port: number) => ({ socket_address: { address: "127.0.0.1", port_value: port } });

const closables: Closable[] = [];
const seen: { readonly url: string; readonly headers: IncomingHttpHeaders }[] = [];
const records: JournalRecord[] = [];
let service: DecisionService;
let server: DecisionServer;
let envoy: RunningEnvoy;
let journalFails = false;
let base = "";
let port = 0;
let revisions = 7;

beforeAll(async () => {
  const upstream = createServer((request, response) => {
    seen.push({ url: request.url ?? "", headers: request.headers });
    request.resume().on("end", () => response.end("answered"));
  });
  await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
  closables.push(upstream);
  let ids = 0;
  const quiet = () => undefined;
  service = createDecisionService({
    serviceName: "authz-1",
    compilePolicy,
    appendRecord: async (record) => {
      if (journalFails) throw new Error("disk full");
      records.push(record);
    },
    clock: () => NOW,
    monotonic: () => performance.now(),
    random: Math.random,
    newId: () => `d${++ids}`,
    log: { info: quiet, warn: quiet, error: quiet },
    metrics: new Registry(),
  });
  server = await serveDecisions({ service, listen: "127.0.0.1:0", drainMs: 200 });
  closables.push(service, server);
  service.activate(revision());
  const upstreamPort = (upstream.address() as AddressInfo).port;
  envoy = await startEnvoy({ binary: ENVOY, bootstrap: bootstrap(upstreamPort, Number(server.address.split(":")[1])) });
  closables.push(envoy);
  port = (await envoy.listenerPorts()).edge?.[0] ?? 0;
  base = `http://127.0.0.1:${port}`;
});

afterAll(async () => {
  for (const closable of closables.reverse()) await closable.close();
});

beforeEach(() => {
  seen.length = 0;
  records.length = 0;
  journalFails = false;
  revisions += 1;
  service.activate(revision({ number: revisions }));
});

const chat = (
  headers: Readonly<Record<string, string>> = { "x-api-key": CHAT_KEY },
  body: unknown = { model: "chat" },
) =>
  http(`${base}/v1/chat/completions`, {
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
const deny = () => {
  const program = { ...PROGRAM, rules: [rule("closed", { effect: "deny", reason: "closed\r\nx: für 100%" })] };
  revisions += 1;
  service.activate(revision({ number: revisions, program }));
};
const lastRecord = () => records.at(-1) as DecisionRecord | undefined;

describe("an allow", () => {
  it("reaches the upstream with the decision, and without the header that carried the key", async () => {
    const forms: readonly (readonly [string, string, string])[] = [
      ["authorization", "Authorization", `Bearer ${CHAT_KEY}`],
      ["x-api-key", "X-Api-Key", CHAT_KEY],
      ["api-key", "api-key", CHAT_KEY],
    ];
    for (const [name, spelled, value] of forms) {
      const answer = await chat({ [spelled]: value });
      expect(answer.status).toBe(200);
      const upstream = seen.pop();
      expect(upstream?.headers).not.toHaveProperty(name);
      expect(JSON.stringify(upstream)).not.toContain(CHAT_KEY);
      expect(upstream?.headers["x-chancery-decision"]).toBe(lastRecord()?.id);
    }
  });

  it("passes the client's own Authorization to an upstream that verifies it", async () => {
    const answer = await http(`${base}/own/x`, { headers: { authorization: "Basic YTpi" } });
    expect(answer.status).toBe(200);
    expect(seen[0]?.headers.authorization).toBe("Basic YTpi");
    expect(lastRecord()).toMatchObject({ application: "acme/public", targets: ["upstream/own"] });
  });

  it("reads a chunked body", async () => {
    const raw = await rawHttp(
      port,
      `POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-api-key: ${CHAT_KEY}\r\ntransfer-encoding: chunked\r\n\r\n10\r\n{"model":"chat"}\r\n0\r\n\r\n`,
    );
    expect(raw).toMatch(/^HTTP\/1.1 200/);
  });
});

describe("a refusal", () => {
  it("is an OpenAI-style error with the decision and the rule", async () => {
    deny();
    const answer = await chat();
    expect(answer.status).toBe(403);
    expect(answer.headers["content-type"]).toBe("application/json");
    const id = lastRecord()?.id;
    expect(answer.headers["x-chancery-decision"]).toBe(id);
    expect(answer.json()).toEqual({
      error: {
        message: "closed x: für 100%",
        type: "permission_error",
        param: null,
        code: "denied",
        decision_id: id,
        rule: "closed",
      },
    });
    expect(seen).toEqual([]);
  });

  it("challenges a caller whose credential fails", async () => {
    const answer = await chat({ authorization: "Bearer sk-unknown" });
    expect(answer.status).toBe(401);
    expect(answer.headers["www-authenticate"]).toBe("Bearer");
    expect(answer.json()).toMatchObject({ error: { code: "invalid_api_key", type: "authentication_error" } });
  });

  it("is a gRPC status for a gRPC call", async () => {
    deny();
    const answer = await http(`${base}/web/acme.Service/Method`, {
      method: "POST",
      headers: { "content-type": "application/grpc+proto", te: "trailers" },
    });
    expect(answer.status).toBe(200);
    expect(answer.headers).toMatchObject({
      "content-type": "application/grpc",
      "grpc-status": "7",
      "grpc-message": `closed x: f%C3%BCr 100%25 (denied, decision ${lastRecord()?.id})`,
    });
    expect(answer.body.length).toBe(0);
    expect(seen).toEqual([]);
  });

  it("has no body for HEAD, and the same status", async () => {
    deny();
    const answer = await http(`${base}/web/x`, { method: "HEAD" });
    expect(answer.status).toBe(403);
    expect(answer.body.length).toBe(0);
  });

  it.each([
    ["/web/a/%2e%2e;/b", "/web/a/..;/b"],
    ["/web/admin;x", "/web/admin;x"],
    ["/web/%zz", "/web/%zz"],
  ])("meets the ambiguous path %s", async (path, recorded) => {
    const answer = await http(`${base}/`, { rawPath: path });
    expect(answer.status).toBe(400);
    expect(answer.json()).toMatchObject({ error: { code: "ambiguous_path" } });
    expect(lastRecord()?.request.path).toBe(recorded);
    expect(seen).toEqual([]);
  });

  it("meets two Authorization headers, which Envoy joins", async () => {
    const answer = await http(`${base}/own/x`, {
      headers: { authorization: [`Bearer ${CHAT_KEY}`, "Bearer other"] },
    });
    expect(answer.json()).toMatchObject({ error: { code: "ambiguous_credentials" } });
    expect(seen).toEqual([]);
  });

  it("sees bytes that are not UTF-8 as they are, not as Envoy's replacement", async () => {
    const program = {
      ...PROGRAM,
      rules: [
        ...PROGRAM.rules,
        rule("admins", { effect: "deny", when: 'request.headers["x-role"].startsWith("admin")' }),
      ],
    };
    revisions += 1;
    service.activate(revision({ number: revisions, program }));
    const ask = (role: string) =>
      rawHttp(port, `GET /web/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-role: ${role}\r\n\r\n`);
    expect(await ask("admin\xff")).toMatch(/^HTTP\/1.1 403/);
    expect(await ask("user\xff")).toMatch(/^HTTP\/1.1 200/);
  });

  it("meets a body that is not whole or can be read in two ways", async () => {
    const key = { "x-api-key": CHAT_KEY };
    const send = (body: string | Uint8Array, headers: Record<string, string> = {}) =>
      http(`${base}/v1/chat/completions`, { body, headers: { ...key, ...headers } });
    const codeOf = async (answer: ReturnType<typeof send>) =>
      (await answer).json<{ error: { code: string } }>().error.code;
    expect(await codeOf(send('{"model":"chat","\\u006dodel":"x"}'))).toBe("malformed_body");
    expect(await codeOf(send("\ufeff{}"))).toBe("malformed_body");
    expect(await codeOf(send('{"model":"chat"}', { "content-encoding": "gzip" }))).toBe("unsupported_body");
    expect((await send(Buffer.alloc(200_000, " "))).status).toBe(413);
    // A client's own claim about partial bodies is overwritten by Envoy.
    expect((await send('{"model":"chat"}', { "x-envoy-auth-partial-body": "true" })).status).toBe(200);
    expect(seen).toHaveLength(1);
  });
});

describe("an answer that Envoy would take for an allow by mistake", () => {
  it("is never given, whatever goes wrong in the decision service", async () => {
    const refused: [string, number][] = [];
    const ask = async (what: string, answer: ReturnType<typeof http>) => refused.push([what, (await answer).status]);
    await ask("unknown key", chat({ "x-api-key": "nope" }));
    await ask("unknown model", chat(undefined, { model: "nope" }));
    await ask("route that the layout lacks", http(`${base}/unknown-route/x`));
    await ask("layout that nobody knows", http(`${base}/unknown-layout/x`));
    journalFails = true;
    await ask("no record", chat());
    journalFails = false;
    deny();
    await ask("deny", chat());
    await ask("deny gRPC", http(`${base}/web/x`, { method: "POST", headers: { "content-type": "application/grpc" } }));
    expect(refused).toEqual([
      ["unknown key", 401],
      ["unknown model", 404],
      ["route that the layout lacks", 503],
      ["layout that nobody knows", 503],
      ["no record", 503],
      ["deny", 403],
      ["deny gRPC", 200],
    ]);
    expect(seen).toEqual([]);
  });

  it("carries its reason to the client when the service itself fails", async () => {
    journalFails = true;
    const answer = await chat();
    expect(answer.status).toBe(503);
    expect(answer.json()).toMatchObject({ error: { code: "record_unavailable", type: "server_error" } });
    const grpc = await http(`${base}/unknown-layout/x`, { headers: { "content-type": "application/grpc" } });
    expect(grpc.headers["grpc-status"]).toBe("14");
  });
});

it("answers the list of models itself, with 200", async () => {
  const answer = await http(`${base}/v1/models`, { headers: { "x-api-key": CHAT_KEY } });
  expect(answer.status).toBe(200);
  expect(answer.headers["content-type"]).toBe("application/json");
  expect(answer.json<{ data: { id: string }[] }>().data.map((entry) => entry.id)).toEqual(["chat", "gpt", "embed"]);
  expect(seen).toEqual([]);
});

it("is taken for healthy by Envoy's gRPC health check", async () => {
  expect((await envoy.stats("cluster.authz.membership_healthy"))["cluster.authz.membership_healthy"]).toBe(1);
  expect(
    (await envoy.stats("cluster.authz.health_check.success"))["cluster.authz.health_check.success"],
  ).toBeGreaterThan(0);
});

function bootstrap(upstreamPort: number, authzPort: number): object {
  const namespace = "envoy.filters.http.ext_authz";
  const metadata = (key: string, exact: string) => ({
    filter: namespace,
    path: [{ key }],
    value: { string_match: { exact } },
  });
  const groups = [...new Set(EDGE.routes.flatMap((route) => route.groups).map((group) => group.name))];
  const pair = (prefix: string, id: string, body: boolean, layout = EDGE.hash) => [
    {
      match: { prefix, dynamic_metadata: [metadata("decision", "allow"), metadata("route", id)] },
      route: {
        timeout: "0s",
        inline_cluster_specifier_plugin: {
          extension: {
            name: "envoy.router.cluster_specifier_plugin.priority_group",
            typed_config: {
              "@type": type("router.cluster_specifiers.priority_group.v3.PriorityGroupClusterSpecifier"),
              override_metadata_namespace: namespace,
              priority_groups: [
                { name: "none0", clusters: [{ cluster_name: "blackhole", weight: 1 }] },
                ...groups.map((name) => ({ name, clusters: [{ cluster_name: "upstream", weight: 1 }] })),
              ],
            },
          },
        },
      },
    },
    {
      match: { prefix },
      direct_response: { status: 403, body: { inline_string: "no_decision" } },
      typed_per_filter_config: {
        [namespace]: {
          "@type": type("filters.http.ext_authz.v3.ExtAuthzPerRoute"),
          check_settings: {
            context_extensions: { route: id, layout, node_group: "edge" },
            ...(body
              ? { with_request_body: { max_request_bytes: 100_000, pack_as_bytes: true } }
              : { disable_request_body_buffering: true }),
          },
        },
      },
    },
  ];
  const http2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
      "@type": type("upstreams.http.v3.HttpProtocolOptions"),
      explicit_http_config: { http2_protocol_options: {} },
    },
  };
  const cluster = (name: string, port: number, more: object = {}) => ({
    name,
    type: "STATIC",
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address: address(port) } }] }] },
    ...more,
  });
  return {
    admin: { address: address(0) },
    static_resources: {
      listeners: [
        {
          name: "edge",
          address: address(0),
          filter_chains: [
            {
              filters: [
                {
                  name: "envoy.filters.network.http_connection_manager",
                  typed_config: {
                    "@type": type("filters.network.http_connection_manager.v3.HttpConnectionManager"),
                    stat_prefix: "edge",
                    use_remote_address: true,
                    normalize_path: true,
                    merge_slashes: true,
                    path_with_escaped_slashes_action: "REJECT_REQUEST",
                    http_filters: [
                      {
                        name: namespace,
                        typed_config: {
                          "@type": type("filters.http.ext_authz.v3.ExtAuthz"),
                          transport_api_version: "V3",
                          failure_mode_allow: false,
                          status_on_error: { code: "ServiceUnavailable" },
                          validate_mutations: true,
                          encode_raw_headers: true,
                          // Of a route's own setting only the size counts; `pack_as_bytes` is read here alone.
                          with_request_body: { max_request_bytes: 1, pack_as_bytes: true },
                          clear_route_cache: true,
                          clear_route_cache_headers: ["x-chancery-decision"],
                          decoder_header_mutation_rules: {
                            disallow_all: true,
                            allow_expression: { regex: "x-chancery-.*|authorization|x-api-key|api-key" },
                            disallow_is_error: true,
                          },
                          grpc_service: { envoy_grpc: { cluster_name: "authz" }, timeout: "2s" },
                        },
                      },
                      {
                        name: "envoy.filters.http.router",
                        typed_config: { "@type": type("filters.http.router.v3.Router") },
                      },
                    ],
                    route_config: {
                      name: "edge",
                      virtual_hosts: [
                        {
                          name: "all",
                          domains: ["*"],
                          routes: [
                            ...pair("/v1/chat/completions", "chat/0/0", true),
                            ...pair("/v1/models", "edge/models/*", false),
                            ...pair("/web", "web/0/0", false),
                            ...pair("/own", "own/0/0", false),
                            ...pair("/unknown-route", "nobody/0/0", false),
                            ...pair("/unknown-layout", "web/0/0", false, "beef"),
                          ],
                        },
                      ],
                    },
                  },
                },
              ],
            },
          ],
        },
      ],
      clusters: [
        cluster("upstream", upstreamPort),
        { name: "blackhole", type: "STATIC", load_assignment: { cluster_name: "blackhole", endpoints: [] } },
        cluster("authz", authzPort, {
          typed_extension_protocol_options: http2,
          health_checks: [
            {
              timeout: "0.3s",
              interval: "0.2s",
              no_traffic_interval: "0.2s",
              unhealthy_threshold: 1,
              healthy_threshold: 1,
              grpc_health_check: {},
            },
          ],
        }),
      ],
    },
  };
}
