import type { JsonObject } from "@bufbuild/protobuf";
import type { LayoutRoute } from "../compiler/index.ts";
import type { ApplicationFacts, DecisionInput, Requested, Restriction, Target, Verdict } from "../policy/index.ts";
import type { Key } from "../resources/index.ts";
import type { Answer } from "./answer.ts";
import { plainText } from "./answer.ts";
import { type Chain, chainOf, drawWeighted, rewrites } from "./chain.ts";
import { type Check, readMetadata, readRequest } from "./check-request.ts";
import { DENIALS, type DenialCode, type Refusal, refusal } from "./denials.ts";
import { type Identity, identify } from "./identity.ts";
import type { ModelReading } from "./model-source.ts";
import type { DecisionRecord } from "./record.ts";
import type { DecisionTables, RouteTable } from "./tables.ts";

/** A decision with everything that follows from it. */
export interface Outcome {
  readonly answer: Answer;
  readonly record: DecisionRecord;
  /** Whose request it is; undefined while that is not known. */
  readonly application: ApplicationFacts | undefined;
}

export interface DecisionContext {
  readonly tables: DecisionTables;
  readonly service: string;
  readonly decisionId: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly random: () => number;
  /** The same array until the set changes. */
  readonly restrictions?: readonly Restriction[] | undefined;
  /** Microseconds since the Check came in. */
  readonly elapsedUs: () => number;
}

/** Up to so many headers rules may ask for them one by one (`DecisionInput.header`). */
const FEW_HEADERS = 1_000;

/** Decides one request: pure but for `random` and `elapsedUs`. */
export function decide(check: Check, context: DecisionContext): Outcome {
  const draft = new Draft(check, context);
  const layout = context.tables.layouts.get(check.context.layout);
  if (layout === undefined) return draft.refuse(refusal("unknown_layout"));
  const table = layout.get(check.context.route);
  if (table === undefined) return draft.refuse(refusal("unknown_route"));
  draft.table = table;

  const reading = readRequest(check, context.now);
  if (!reading.ok) return draft.refuse(reading);
  const { request } = reading;
  draft.request = { method: request.method, host: request.host, path: request.url_path };

  const metadata = readMetadata(check);
  if (metadata === undefined) return draft.refuse(refusal("malformed_check"));
  const identity = identify(context.tables.identities, {
    headers: check.headers,
    claims: metadata.claims,
    source: check.source,
    passesAuthorization: table.passesAuthorization,
  });
  if (!identity.ok) return draft.refuse(identity);
  draft.identity = identity;

  const draw = context.random();
  const inputFor = (requested: Requested): DecisionInput => ({
    request,
    header: check.headers.count <= FEW_HEADERS ? (name) => check.headers.get(name) : undefined,
    source: check.source,
    destination: check.destination,
    connection: check.connection,
    metadata: metadata.metadata,
    xds: { route: check.context.route, layout: check.context.layout, node_group: check.context.nodeGroup },
    subject: identity.subject,
    application: identity.application,
    gateway: table.route.gateway,
    httpRoute: table.route.httpRoute,
    requested,
    candidates: table.candidates,
    models: table.route.models,
    weights: table.weights,
    now: context.now,
    draw,
    ...(context.restrictions === undefined ? {} : { restrictions: context.restrictions }),
    observe: context.tables.observedGateways.has(table.route.gateway),
  });
  if (table.route.action === "modelList") {
    return draft.reply(listModels(table, inputFor({ stream: false }), context.tables));
  }

  let model: ModelReading & { ok: true } = { ok: true, stream: false };
  let requested: Requested = { stream: false };
  if (table.route.action === "model") {
    const asked = table.readModel?.(check, request) ?? refusal("internal");
    if (!asked.ok) return draft.refuse(asked);
    const named = resolveModel(asked, table, context.tables);
    if (asked.name !== undefined) draft.model = asked.name;
    draft.stream = asked.stream;
    if (!named.ok) return draft.refuse(named);
    model = asked;
    requested = named.requested;
  } else if (table.route.action === "plain") {
    const drawn = drawWeighted(table.candidates, (target) => table.weights.get(target.pool) ?? 0, context.random);
    if (drawn !== undefined) requested = { upstream: drawn.upstream, stream: false };
  }

  const verdict = context.tables.policy.decideAgain(inputFor(requested));
  draft.verdict = verdict;
  if (verdict.effect === "deny") return draft.refuse(refusal(verdict.code, verdict.reason));
  const chain = chainOf(table, verdict);
  // What is legal can only be rerouted to, or is not in this layout (any more).
  if (chain.groups.length === 0 && table.route.action !== "redirect") {
    return draft.refuse(refusal("no_legal_target"), "chancery:no-legal-target");
  }
  const plain = table.route.action !== "model";
  return draft.allow(chain, {
    mode: plain ? "plain" : `${model.stream ? "stream" : "whole"}${budgetOf(table.route, chain.targets)}`,
    ...(plain ? {} : rewrites(chain.targets, request, model.name, model.span)),
  });
}

/** The answer budget of the model that is asked first, as the layout calls it. */
function budgetOf(route: LayoutRoute, [first]: readonly Target[]): string {
  return (first?.model && route.budgets?.[first.model.model]) ?? "";
}

/**
 * "name" or "name@version". A name that the route does not offer goes to the policy without a model: a rule may reroute
 * it, else it is not found. A version that nobody deploys is not found at once: no other version was asked for.
 */
export function resolveModel(
  asked: ModelReading & { ok: true },
  table: RouteTable,
  tables: DecisionTables,
): { readonly ok: true; readonly requested: Requested } | Refusal {
  const { name, stream } = asked;
  if (name === undefined) {
    const [only] = table.route.models;
    return only === undefined ? refusal("internal") : { ok: true, requested: { model: only, stream } };
  }
  const model = table.names.get(name);
  if (model !== undefined) return { ok: true, requested: { modelName: name, model, stream } };
  const at = name.lastIndexOf("@");
  const base = at === -1 ? undefined : table.names.get(name.slice(0, at));
  if (base === undefined) return { ok: true, requested: { modelName: name, stream } };
  const version = tables.versions.get(base)?.get(name.slice(at + 1));
  if (version === undefined) return refusal("model_not_found", `The model "${name}" does not exist.`);
  return { ok: true, requested: { modelName: name, model: base, version, stream } };
}

/** Names of the models of the list that the caller may use on some route that serves them, in OpenAI's shape. */
function listModels(table: RouteTable, input: DecisionInput, tables: DecisionTables): string {
  const usable = new Set<Key>();
  for (const { route, candidates } of table.servedBy) {
    const models = route.models.filter((model) => table.route.models.includes(model));
    const found = tables.policy.usableModels({ ...input, httpRoute: route.httpRoute, candidates, models });
    for (const model of found) usable.add(model);
  }
  const data = table.route.models
    .filter((key) => usable.has(key))
    .flatMap((key) => tables.models.get(key) ?? [])
    .flatMap((model) => model.names.map((id) => ({ id, scope: model.scope })))
    .map(({ id, scope }) => ({
      id,
      object: "model",
      created: tables.revision.createdAt,
      owned_by: scope === "." ? "organization" : scope,
    }));
  return JSON.stringify({ object: "list", data });
}

/** Gathers what becomes known of a request, so that a refusal at any point has a whole record. */
class Draft {
  readonly #check: Check;
  readonly #context: DecisionContext;
  table: RouteTable | undefined;
  identity: (Identity & { ok: true }) | undefined;
  request: { readonly method: string; readonly host: string; readonly path: string } | undefined;
  model: string | undefined;
  stream = false;
  verdict: Verdict | undefined;

  constructor(check: Check, context: DecisionContext) {
    this.#check = check;
    this.#context = context;
  }

  refuse({ code, message }: Refusal, rule = this.verdict?.rule ?? ""): Outcome {
    const { decisionId } = this.#context;
    const metadata = { ...this.#metadata("deny"), rule, code };
    const shared = { kind: "refuse", decisionId, code, rule, message, metadata } as const;
    const answer: Answer = this.#check.grpc === undefined ? shared : { ...shared, grpc: this.#check.grpc };
    return this.#outcome(answer, { code, rule, reason: message, targets: [] });
  }

  allow(chain: Chain, extra: JsonObject): Outcome {
    const answer: Answer = {
      kind: "allow",
      decisionId: this.#context.decisionId,
      headersToRemove: this.identity?.headersToRemove ?? [],
      metadata: {
        ...this.#metadata("allow"),
        legal: [...chain.legal],
        priority_groups: chain.groups.map((name) => ({ name })),
        ...extra,
      },
    };
    const { rule = "", reason = "" } = this.verdict ?? {};
    return this.#outcome(answer, { code: "ok", rule, reason, targets: chain.groups });
  }

  reply(json: string): Outcome {
    const { decisionId } = this.#context;
    const answer: Answer = { kind: "reply", decisionId, json, metadata: this.#metadata("answered") };
    const reason = "the decision service lists the models itself";
    return this.#outcome(answer, { code: "ok", rule: "chancery:model-list", reason, targets: [] });
  }

  #metadata(decision: "allow" | "deny" | "answered"): JsonObject {
    const { context } = this.#check;
    return {
      decision,
      decision_id: this.#context.decisionId,
      route: context.route,
      layout: context.layout,
      revision: this.#context.tables.revision.number,
      application: this.identity?.application.key ?? "",
      rule: this.verdict?.rule ?? "",
    };
  }

  #outcome(
    answer: Answer,
    said: {
      readonly code: DenialCode | "ok";
      readonly rule: string;
      readonly reason: string;
      readonly targets: readonly string[];
    },
  ): Outcome {
    const { tables, service, decisionId, now, elapsedUs } = this.#context;
    const { context, http, source } = this.#check;
    const { verdict, identity } = this;
    const record: DecisionRecord = {
      format: 1,
      id: decisionId,
      at: new Date(now).toISOString(),
      service,
      revision: { number: tables.revision.number, digest: tables.revision.digest, signed: tables.revision.signed },
      layout: bounded(context.layout),
      route: bounded(context.route),
      gateway: this.table?.route.gateway ?? "",
      httpRoute: this.table?.route.httpRoute ?? "",
      request: {
        id: bounded(http.id),
        ...(this.request ?? unreadRequest(this.#check)),
        source: source.address,
        ...(this.model === undefined ? {} : { model: this.model }),
        stream: this.stream,
      },
      application: identity?.application.key ?? "",
      subject: { kind: identity?.subject.kind ?? "unknown", id: bounded(identity?.subject.id ?? "") },
      effect: said.code === "ok" ? "allow" : DENIALS[said.code].status === 503 ? "error" : "deny",
      status: said.code === "ok" ? 200 : DENIALS[said.code].status,
      code: said.code,
      rule: said.rule,
      reason: plainText(said.reason),
      targets: said.targets,
      removed: verdict?.removed ?? [],
      rerouted: verdict?.rerouted ?? [],
      ...(verdict?.effect === "allow" && verdict.observed !== undefined ? { observed: verdict.observed } : {}),
      ...(verdict?.effect === "allow" && verdict.exposure !== undefined ? { exposure: verdict.exposure } : {}),
      shadow: verdict?.shadow ?? [],
      errors: verdict?.errors ?? [],
      decidedInUs: elapsedUs(),
    };
    return { answer, record, application: identity?.application };
  }
}

/** What a record says of a request that could not be read: as it came, without its query, on one short line. */
function unreadRequest(check: Check): { method: string; host: string; path: string } {
  const { headers } = check;
  const [path = ""] = (headers.pseudo(":path") ?? "").split(/[?#]/);
  return {
    method: bounded(headers.pseudo(":method") ?? ""),
    host: bounded(headers.pseudo(":authority") ?? ""),
    path: bounded(path),
  };
}

function bounded(text: string): string {
  return plainText(text);
}
