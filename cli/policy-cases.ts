import type { NodeGroup } from "../compiler/index.ts";
import {
  buildTables,
  canonicalHost,
  canonicalPath,
  chainOf,
  type DecisionTables,
  drawWeighted,
  type RouteTable,
  resolveModel,
} from "../ext-authz/index.ts";
import {
  type ApplicationFacts,
  type AskedDecision,
  type ConnectionAttributes,
  compilePolicy,
  type Requested,
  type Subject,
} from "../policy/index.ts";
import {
  type Gateway,
  type HTTPRoute,
  type Inventory,
  type PolicyTestCase,
  type PolicyTestRequest,
  timestampMs,
} from "../resources/index.ts";
import type { CompiledTree } from "./compile-directory.ts";
import { routeTableOf } from "./explain.ts";
import { type FoundRoute, findRoute, type RoutedRequest } from "./find-route.ts";

/** Places in route tables that are kept. */
const MOST_FINDS = 16_384;

/** A request as a PolicyTest describes it, with its clock. */
export type DescribedCase = Pick<PolicyTestCase, "now" | "request" | "draw">;

/** What is asked, or why the description cannot be asked as it stands. */
export type PreparedCase =
  | { readonly ok: true; readonly asked: AskedDecision }
  | { readonly ok: false; readonly problem: string };

/** Turns descriptions of requests into what the decision service would ask its policy. Made once per tree. */
export interface CasePreparer {
  prepare(described: DescribedCase): PreparedCase;
}

/**
 * The way of a request through a compiled tree up to its rules: the route by the very resources that Envoys get, the
 * candidates by the layout, the model as the decision service resolves it. Only the proof of identity is left out: the
 * description says whose request it is.
 */
export function casePreparer({ loaded, compiled }: CompiledTree): CasePreparer {
  const { program, layouts, nodeGroups } = compiled.parts;
  const revision = { number: 1, digest: "", createdAt: new Date(0).toISOString(), signedBy: [], program, layouts };
  const tables = buildTables(revision, layouts, compilePolicy(program));
  const applications = new Map(program.applications.map((application) => [application.key, application]));
  const { inventory } = loaded;
  const routes = new Map(inventory.httpRoutes.map((route) => [route.key, route]));
  const groups = new Map(nodeGroups.map((group) => [group.name, group]));
  // Many callers are asked about on the same routes.
  const finds = new Map<string, FoundRoute | undefined>();
  const find = (group: NodeGroup, table: string, routed: RoutedRequest): FoundRoute | undefined => {
    const key = JSON.stringify([group.name, table, { ...routed, headers: [...routed.headers] }]);
    const known = finds.get(key);
    if (known !== undefined || finds.has(key)) return known;
    const found = findRoute(group, table, routed);
    if (finds.size < MOST_FINDS) finds.set(key, found);
    return found;
  };

  function prepare({ now, request, draw }: DescribedCase): PreparedCase {
    const application = applications.get(request.application);
    if (application === undefined) return problem(`there is no application ${request.application}`);
    const route = request.route === undefined ? undefined : routes.get(request.route);
    if (request.route !== undefined && route === undefined) return problem(`there is no route ${request.route}`);
    const gateway = gatewayOf(inventory, request, route);
    if (typeof gateway === "string") return problem(gateway);
    const sent = sentRequest(request, gateway, route);
    if (typeof sent === "string") return problem(sent);
    const group = groups.get(gateway.key);
    const routeTable = routeTableOf(gateway, Number(sent.url.port) || sent.port, sent.url);
    const routed = {
      host: sent.url.hostname,
      method: sent.method,
      path: sent.path,
      query: sent.query,
      headers: sent.headers,
    };
    const found = group === undefined ? undefined : find(group, routeTable, routed);
    if (found === undefined) {
      return refused("no_route", `no route of gateway ${gateway.key} matches ${sent.method} ${sent.url.href}`);
    }
    const { route: id = "", layout = "" } = found.contextExtensions;
    const table = tables.layouts.get(layout)?.get(id);
    if (table === undefined) return problem(`route ${id} is not in the layout of gateway ${gateway.key}`);
    if (route !== undefined && table.route.httpRoute !== route.key) {
      return problem(`the request matches route ${table.route.httpRoute}, not ${route.key}`);
    }
    return decisionOn({ tables, table, application, request, sent, layout, now: timestampMs(now), draw });
  }
  return { prepare };
}

interface SentRequest {
  readonly url: URL;
  readonly port: number;
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly headers: ReadonlyMap<string, readonly string[]>;
}

function gatewayOf(inventory: Inventory, request: PolicyTestRequest, route: HTTPRoute | undefined): Gateway | string {
  const attached = new Set(route?.parents.map(({ gateway }) => gateway));
  const candidates = inventory.gateways.filter(({ key }) =>
    request.gateway === undefined ? route === undefined || attached.has(key) : key === request.gateway,
  );
  const [gateway, another] = candidates;
  if (gateway === undefined) return "no gateway takes this request";
  if (another !== undefined) return `name one gateway: ${candidates.map(({ key }) => key).join(", ")}`;
  return gateway;
}

/** Fills in what the description leaves out from the route's first match. */
function sentRequest(request: PolicyTestRequest, gateway: Gateway, route: HTTPRoute | undefined): SentRequest | string {
  const match = route?.rules[0]?.matches[0];
  if (request.path === undefined && (match === undefined || match.path.type === "RegularExpression")) {
    return match === undefined
      ? "name a route or a path"
      : `write a path: route ${route?.key} begins with an expression`;
  }
  const parent = route?.parents.find((each) => each.gateway === gateway.key);
  const listener = gateway.listeners.find(({ name, port }) =>
    request.port === undefined ? parent === undefined || name === parent.listener : port === request.port,
  );
  if (listener === undefined) return `gateway ${gateway.key} has no listener on port ${request.port}`;
  const [known = "*"] = parent?.hostnames ?? [listener.hostname ?? "*"];
  const host = request.host ?? (known === "*" ? "localhost" : known.replace("*", "any"));
  const target = request.path ?? modelPath(match?.path.value ?? "/", request.model);
  const [path = "/", query = ""] = target.split(/\?(.*)/s);
  const scheme = listener.protocol === "HTTPS" ? "https" : "http";
  const href = `${scheme}://${host}:${listener.port}${target}`;
  if (!URL.canParse(href)) return `${href} is no URL`;
  const headers = new Map<string, readonly string[]>();
  const own = request.path === undefined ? match : undefined;
  for (const { type, name, value } of own?.headers ?? [])
    if (type === "Exact") headers.set(name.toLowerCase(), [value]);
  for (const [name, values] of Object.entries(request.headers)) headers.set(name, values);
  const wanted = (own?.queryParams ?? []).filter(({ type }) => type === "Exact");
  const withQuery = [
    ...(query === "" ? [] : [query]),
    ...wanted.map(({ name, value }) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`),
  ];
  const method = request.method ?? match?.method ?? (request.model === undefined ? "GET" : "POST");
  return { url: new URL(href), port: listener.port, method, path, query: withQuery.join("&"), headers };
}

/** A path that is matched by its beginning may hold the model's name behind it. */
function modelPath(path: string, model: string | undefined): string {
  return model === undefined ? path : path.replace("{model}", encodeURIComponent(model));
}

interface Asking {
  readonly tables: DecisionTables;
  readonly table: RouteTable;
  readonly application: ApplicationFacts;
  readonly request: PolicyTestRequest;
  readonly sent: SentRequest;
  readonly layout: string;
  readonly now: number;
  readonly draw: number;
}

function decisionOn(asking: Asking): PreparedCase {
  const { tables, table, application, request, sent, layout, now, draw } = asking;
  const { route } = table;
  if (route.action === "modelList") return problem(`route ${route.id} lists models: no rule speaks about it by itself`);
  const target = sent.query === "" ? sent.path : `${sent.path}?${sent.query}`;
  const canonical = canonicalPath(target);
  if (!canonical.ok) return refused("ambiguous_path", canonical.problem);
  const headers = new Map(sent.headers);
  const { modelSource } = route;
  if (modelSource?.type === "header" && request.model !== undefined) {
    headers.set(modelSource.header.toLowerCase(), [request.model]);
  }
  const requested = requestedOf(asking);
  if (typeof requested === "string") return problem(requested);
  if ("refused" in requested) return refused("model_not_found", requested.refused);
  return {
    ok: true,
    asked: {
      kind: "decision",
      input: {
        request: {
          method: sent.method,
          scheme: sent.url.protocol.slice(0, -1),
          host: canonicalHost(sent.url.host) ?? sent.url.hostname,
          path: target,
          url_path: canonical.path,
          query: canonical.query,
          protocol: "HTTP/2",
          id: "policy-test",
          size: 0,
          time: now,
          headers,
        },
        source: { address: request.source, port: 0, ...principalOf(request) },
        destination: { address: "127.0.0.1", port: sent.port },
        connection: connectionOf(request, sent.url),
        metadata: {},
        xds: { route: route.id, layout, node_group: route.gateway },
        subject: subjectOf(request, application),
        application,
        gateway: route.gateway,
        httpRoute: route.httpRoute,
        requested,
        candidates: table.candidates,
        models: route.models,
        weights: table.weights,
        mirror: table.mirror,
        now,
        draw,
        observe: tables.observedGateways.has(route.gateway),
      },
      answering: (allow) => chainOf(table, allow).targets,
    },
  };
}

function requestedOf({ tables, table, request, draw }: Asking): Requested | { readonly refused: string } | string {
  const { stream, model: name } = request;
  if (table.route.action === "model") {
    if (name === undefined && table.route.modelSource?.type !== "route")
      return "name a model: this route serves models";
    const named = resolveModel({ ok: true, stream, ...(name === undefined ? {} : { name }) }, table, tables);
    return named.ok ? named.requested : { refused: named.message ?? `There is no model ${name ?? ""}` };
  }
  if (name !== undefined) return `route ${table.route.id} serves no models: leave out model`;
  const drawn = drawWeighted(
    table.candidates,
    (target) => table.weights.get(target.pool) ?? 0,
    () => draw,
  );
  return drawn === undefined ? { stream } : { upstream: drawn.upstream, stream };
}

function principalOf({ subject }: PolicyTestRequest): { readonly principal?: string } {
  return subject.kind === "mtls" && subject.id !== undefined ? { principal: subject.id } : {};
}

function connectionOf({ subject }: PolicyTestRequest, url: URL): ConnectionAttributes {
  const mtls = subject.kind === "mtls";
  return url.protocol === "https:" ? { mtls, requested_server_name: url.hostname } : { mtls };
}

/** The caller as the decision service would know it, had it shown the credential that the application asks for. */
function subjectOf({ subject }: PolicyTestRequest, application: ApplicationFacts): Subject {
  const { claims, id } = subject;
  const kind = subject.kind ?? (claims === undefined ? usualKind(application) : "jwt");
  switch (kind) {
    case "apiKey": {
      const key = application.apiKeys.find((each) => id === undefined || each.id === id);
      const fields = { ...key?.subject, ...subject.fields };
      return { kind, id: id ?? key?.id ?? "", claims: {}, fields };
    }
    case "jwt": {
      const identity = application.jwt.find(({ issuer }) => claims?.iss === undefined || claims.iss === issuer);
      const mapped = Object.entries(identity?.subject ?? {}).flatMap(([field, claim]): [string, string][] => {
        const value = claims?.[claim];
        return typeof value === "string" || typeof value === "number" || typeof value === "boolean"
          ? [[field, String(value)]]
          : [];
      });
      const sub = typeof claims?.sub === "string" ? claims.sub : "";
      return {
        kind,
        id: id ?? sub,
        claims: claims ?? {},
        fields: { ...Object.fromEntries(mapped), ...subject.fields },
      };
    }
    case "mtls":
    case "anonymous":
      return { kind, id: id ?? "anonymous", claims: {}, fields: subject.fields };
  }
}

function usualKind(application: ApplicationFacts): Subject["kind"] {
  if (application.apiKeys.length > 0) return "apiKey";
  return application.jwt.length > 0 ? "jwt" : "anonymous";
}

function problem(text: string): PreparedCase {
  return { ok: false, problem: text };
}

function refused(code: string, reason: string): PreparedCase {
  return { ok: true, asked: { kind: "refused", code, reason } };
}
