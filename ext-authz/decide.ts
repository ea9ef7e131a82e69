import type { JsonObject } from "@bufbuild/protobuf";
import type { LayoutRoute } from "../compiler/index.ts";
import {
  type Allow,
  type ApplicationFacts,
  type ConnectionAttributes,
  changedInput,
  type DecisionInput,
  type PeerAttributes,
  type PlainMirror,
  type RequestAttributes,
  type Requested,
  type Restriction,
  type Subject,
  type Target,
  type Verdict,
} from "../policy/index.ts";
import type { Key } from "../resources/index.ts";
import type { Answer } from "./answer.ts";
import { plainText } from "./answer.ts";
import { type Chain, rewrites } from "./chain.ts";
import type { Check, WireCheck } from "./check-request.ts";
import { DENIALS, type DenialCode, type Refusal, refusal } from "./denials.ts";
import { FEW_HEADERS } from "./headers.ts";
import { type Identity, identify } from "./identity.ts";
import type { KnownIdentity } from "./identity-cache.ts";
import { drawMirror, mirrorOnRecord } from "./mirror.ts";
import type { ModelReading } from "./model-source.ts";
import { Decided, type Outcome } from "./outcome.ts";
import type { DecisionRecord } from "./record.ts";
import { readMetadata, readRequest } from "./request-attributes.ts";
import type { Drawn, Recalled, RecalledRequest } from "./request-memo.ts";
import type { DecisionTables, RouteTable } from "./tables.ts";

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

/** Decides one request: pure but for `random`, `elapsedUs`, and what is kept for requests like it. */
export function decide(check: WireCheck, context: DecisionContext): Outcome {
  const draft = new Draft(check, context);
  const refused = reach(draft);
  if (refused !== undefined) return draft.refuse(refused);
  const { table, input, verdict, asked, model } = draft;
  if (table === undefined) return draft.refuse(refusal("internal"));
  if (table.route.action === "modelList") {
    return input === undefined
      ? draft.refuse(refusal("internal"))
      : draft.reply(listModels(table, input, context.tables));
  }
  if (verdict === undefined || asked === undefined) return draft.refuse(refusal("internal"));
  if (verdict.effect === "deny") return draft.refuse(refusal(verdict.code, verdict.reason));
  const chain = table.chainOf(verdict);
  // What is legal can only be rerouted to, or is not in this layout (any more).
  if (chain.groups.length === 0 && table.route.action !== "redirect") {
    return draft.refuse(refusal("no_legal_target"), "chancery:no-legal-target");
  }
  draft.mirror = drawMirror(verdict.mirror, table, model, context.random);
  if (table.route.action !== "model") return draft.allow(chain, PLAIN);
  const mode = `${draft.stream ? "stream" : "whole"}${budgetOf(table.route, chain.targets)}`;
  return draft.allow(chain, { mode, ...rewrites(chain.targets, asked, model?.name, model?.span) });
}

/** As `decide`, up to the verdict of the policy: without record and answer. */
export function reachVerdict(check: WireCheck, context: DecisionContext): Verdict | Refusal {
  const table = tableOf(check, context.tables);
  if (table === undefined) return unknownRoute(check, context.tables);
  const recalled = recall(check, table, context);
  if (recalled !== undefined) return recalled.verdict;
  const draft = new Draft(check, context);
  draft.table = table;
  return reachAnew(draft, table) ?? draft.verdict ?? refusal("internal");
}

const PLAIN: JsonObject = { mode: "plain" };

/** Goes as far as the verdict, or (on a model list) to what verdicts are asked with. */
function reach(draft: Draft): Refusal | undefined {
  const { check, context } = draft;
  const table = tableOf(check, context.tables);
  if (table === undefined) return unknownRoute(check, context.tables);
  draft.table = table;
  const recalled = recall(check, table, context);
  if (recalled === undefined) return reachAnew(draft, table);
  const { request, verdict } = recalled;
  draft.asked = new RecalledTarget(check, request, context.tables.requests.pathTo);
  draft.identity = request.identity;
  draft.model = request.model;
  draft.verdict = verdict;
  return undefined;
}

function tableOf(check: WireCheck, { layouts }: DecisionTables): RouteTable | undefined {
  return layouts.get(check.layout)?.get(check.route);
}

function unknownRoute(check: WireCheck, { layouts }: DecisionTables): Refusal {
  return refusal(layouts.has(check.layout) ? "unknown_route" : "unknown_layout");
}

function recall(check: WireCheck, table: RouteTable, context: DecisionContext): Recalled | undefined {
  const { tables, now, restrictions, random } = context;
  return tables.requests.recall(check, table, now, restrictions, random);
}

/** After `recall` found nothing. */
function reachAnew(draft: Draft, table: RouteTable): Refusal | undefined {
  const { check, context } = draft;
  const { tables } = context;
  const { missed, drawn } = tables.requests;
  const reading = readRequest(check, context.now);
  if (!reading.ok) return reading;
  const { request } = reading;
  draft.asked = request;

  const identity = identityOf(check, table, tables);
  if (!identity.ok) return identity;
  draft.identity = identity;

  const draw = drawn?.draw ?? context.random();
  const input = new CheckInput(check, context, table, request, identity, draw);
  draft.input = input;
  const { action } = table.route;
  if (action === "modelList") return undefined;
  let requested: Requested | undefined;
  if (action === "model") {
    const asked = table.readModel?.(check, request) ?? refusal("internal");
    if (!asked.ok) return asked;
    draft.model = asked;
    const named = resolveModel(asked, table, tables);
    if (!named.ok) return named;
    input.requested = named.requested;
  } else if (action === "plain") {
    requested = drawn === undefined ? table.drawBackend(context.random) : drawn.requested;
    input.requested = requested ?? NOTHING_ASKED;
  }
  const verdict = tables.policy.decideAgain(input);
  draft.verdict = verdict;
  if (missed && input.header !== undefined) keep(draft, table, identity, input, verdict, { draw, requested });
  return undefined;
}

/** Keeps a verdict for requests like this one. */
function keep(
  { check, context, model }: Draft,
  table: RouteTable,
  identity: KnownIdentity,
  input: CheckInput,
  verdict: Verdict,
  drawn: Drawn,
): void {
  const { tables, restrictions } = context;
  const basis = tables.policy.basisOf(input);
  if (basis === undefined) return;
  const { method, host, url_path: path } = input.request;
  tables.requests.keep(check, table, restrictions, basis, { identity, method, host, path, model }, verdict, drawn);
}

/** Who asks: as `recall` found it, where it looked. */
function identityOf(check: WireCheck, { passesAuthorization }: RouteTable, tables: DecisionTables): Identity {
  const { requests, callers } = tables;
  const known = requests.missed ? requests.caller : callers.find(check, passesAuthorization);
  if (known !== undefined) return known.identity;
  const metadata = readMetadata(check);
  if (metadata === undefined) return refusal("malformed_check");
  const { headers, source } = check;
  const identity = identify(tables.identities, { headers, claims: metadata.claims, source, passesAuthorization });
  requests.caller = callers.keep(check, passesAuthorization, identity);
  return identity;
}

const NOTHING_ASKED: Requested = { stream: false };

/** One array, as long as nothing is restricted: verdicts are kept by its identity. */
const UNRESTRICTED: readonly Restriction[] = [];

/** What the policy sees of a Check; what rules seldom read is read when they do. */
class CheckInput implements DecisionInput {
  readonly request: RequestAttributes;
  readonly header: ((name: string) => readonly string[] | undefined) | undefined;
  readonly subject: Subject;
  readonly application: ApplicationFacts;
  readonly gateway: Key;
  readonly httpRoute: Key;
  requested = NOTHING_ASKED;
  readonly candidates: readonly Target[];
  readonly models: readonly Key[];
  readonly weights: ReadonlyMap<string, number>;
  readonly mirror: PlainMirror | undefined;
  readonly now: number;
  readonly draw: number;
  readonly restrictions: readonly Restriction[];
  readonly observe: boolean;
  readonly #check: WireCheck;

  constructor(
    check: WireCheck,
    context: DecisionContext,
    { route, candidates, weights, mirror }: RouteTable,
    request: RequestAttributes,
    { subject, application }: KnownIdentity,
    draw: number,
  ) {
    this.request = request;
    this.header = check.headers.count <= FEW_HEADERS ? check.header : undefined;
    this.subject = subject;
    this.application = application;
    this.gateway = route.gateway;
    this.httpRoute = route.httpRoute;
    this.candidates = candidates;
    this.models = route.models;
    this.weights = weights;
    this.mirror = mirror;
    this.now = context.now;
    this.draw = draw;
    this.restrictions = context.restrictions ?? UNRESTRICTED;
    this.observe = context.tables.observedGateways.has(route.gateway);
    this.#check = check;
  }

  get source(): PeerAttributes {
    return this.#check.source;
  }
  get destination(): PeerAttributes {
    return this.#check.destination;
  }
  get connection(): ConnectionAttributes {
    return this.#check.connection;
  }
  get metadata(): Readonly<Record<string, JsonObject>> {
    return this.#check.metadata ?? {};
  }
  get xds(): Readonly<Record<string, string>> {
    const { route, layout, nodeGroup } = this.#check;
    return { route, layout, node_group: nodeGroup };
  }
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
    const found = tables.policy.usableModels(changedInput(input, { httpRoute: route.httpRoute, candidates, models }));
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
  readonly check: WireCheck;
  readonly context: DecisionContext;
  table: RouteTable | undefined;
  identity: KnownIdentity | undefined;
  asked: AskedTarget | undefined;
  input: DecisionInput | undefined;
  model: (ModelReading & { ok: true }) | undefined;
  verdict: Verdict | undefined;
  /** Pool that gets a copy of the request. */
  mirror: string | undefined;

  constructor(check: WireCheck, context: DecisionContext) {
    this.check = check;
    this.context = context;
  }

  get stream(): boolean {
    return this.model?.stream === true;
  }

  refuse({ code, message }: Refusal, rule = this.verdict?.rule ?? ""): Outcome {
    const { grpc } = this.check;
    const make = (decisionId: string): Answer => {
      const metadata = { ...this.#metadata("deny", decisionId), rule, code };
      const shared = { kind: "refuse", decisionId, code, rule, message, metadata } as const;
      return grpc === undefined ? shared : { ...shared, grpc };
    };
    return this.#outcome(make, grpc ?? "", { code, rule, reason: message, targets: [] });
  }

  allow(chain: Chain, extra: JsonObject): Outcome {
    const { identity, mirror, table } = this;
    // Its routes lead to one group each, and are told apart by its name.
    const first = table?.reduced === true ? chain.groups[0] : undefined;
    const headersToRemove = identity?.headersToRemove ?? [];
    const make = (decisionId: string): Answer => ({
      kind: "allow",
      decisionId,
      headersToRemove,
      metadata: {
        ...this.#metadata("allow", decisionId),
        legal: [...chain.legal],
        priority_groups: chain.groups.map((name) => ({ name })),
        ...(first === undefined ? {} : { first }),
        ...(mirror === undefined ? {} : { mirror }),
        ...extra,
      },
    });
    const { rule = "", reason = "" } = this.verdict ?? {};
    // Where names or paths are changed, the answer depends on more of the request.
    const changes = "span" in extra || "paths" in extra;
    const variant = [extra.mode, ...headersToRemove, ...(mirror === undefined ? [] : [`mirror ${mirror}`])].join(" ");
    return this.#outcome(make, changes ? undefined : variant, { code: "ok", rule, reason, targets: chain.groups });
  }

  reply(json: string): Outcome {
    const make = (decisionId: string): Answer => ({
      kind: "reply",
      decisionId,
      json,
      metadata: this.#metadata("answered", decisionId),
    });
    const reason = "the decision service lists the models itself";
    return this.#outcome(make, undefined, { code: "ok", rule: "chancery:model-list", reason, targets: [] });
  }

  #metadata(decision: "allow" | "deny" | "answered", decisionId: string): JsonObject {
    const { context } = this.check;
    return {
      decision,
      decision_id: decisionId,
      route: context.route,
      layout: context.layout,
      revision: this.context.tables.revision.number,
      application: this.identity?.application.key ?? "",
      rule: this.verdict?.rule ?? "",
    };
  }

  /** @param variant  what the answer depends on beside the verdict; undefined: on more than that */
  #outcome(
    make: (decisionId: string) => Answer,
    variant: string | undefined,
    said: {
      readonly code: DenialCode | "ok";
      readonly rule: string;
      readonly reason: string;
      readonly targets: readonly string[];
    },
  ): Outcome {
    const { tables, service, decisionId, now, elapsedUs } = this.context;
    const { layout, route, id, source } = this.check;
    const { verdict, identity, model, table } = this;
    const { method, host, path } = this.asked === undefined ? unreadRequest(this.check) : readRequestOf(this.asked);
    const asked: Writable<DecisionRecord["request"]> = {
      id: plainText(id),
      method,
      host,
      path,
      source: source.address,
      stream: this.stream,
    };
    if (model?.name !== undefined) asked.model = model.name;
    const status = said.code === "ok" ? 200 : DENIALS[said.code].status;
    const record: Writable<DecisionRecord> = {
      format: 1,
      id: decisionId,
      at: timeText(now),
      service,
      revision: tables.recorded,
      layout: plainText(layout),
      route: plainText(route),
      gateway: table?.route.gateway ?? "",
      httpRoute: table?.route.httpRoute ?? "",
      request: asked,
      application: identity?.application.key ?? "",
      subject: { kind: identity?.subject.kind ?? "unknown", id: plainText(identity?.subject.id ?? "") },
      effect: said.code === "ok" ? "allow" : status === 503 ? "error" : "deny",
      status,
      code: said.code,
      rule: said.rule,
      reason: plainText(said.reason),
      targets: said.targets,
      removed: verdict?.removed ?? NOTHING,
      rerouted: verdict?.rerouted ?? NOTHING,
      shadow: verdict?.shadow ?? NOTHING,
      errors: verdict?.errors ?? NOTHING,
      decidedInUs: elapsedUs(),
    };
    if (table?.reduced === true) record.plan = "reduced";
    if (verdict?.effect === "allow") noteAllowed(record, verdict, this.mirror);
    return new Decided(record, identity?.application, decisionId, make, table?.templates, verdict, variant);
  }
}

type Writable<Type> = { -readonly [Name in keyof Type]: Type[Name] };

const NOTHING: readonly never[] = [];

/** What only an allow says, and few do. */
function noteAllowed(record: Writable<DecisionRecord>, allow: Allow, drawn: string | undefined): void {
  if (allow.observed !== undefined) record.observed = allow.observed;
  if (allow.exposure !== undefined) record.exposure = allow.exposure;
  if (allow.mirror !== undefined) Object.assign(record, mirrorOnRecord(allow.mirror, drawn));
}

function readRequestOf({ method, host, url_path: path }: AskedTarget) {
  return { method, host, path };
}

/** What records and answers say of a request. */
type AskedTarget = Pick<RequestAttributes, "method" | "host" | "path" | "url_path">;

/** That of a request like one before. */
class RecalledTarget implements AskedTarget {
  readonly method: string;
  readonly host: string;
  readonly url_path: string;
  readonly #check: WireCheck;

  /** @param pathTo  where its path ends, unless requests like it have one path */
  constructor(check: WireCheck, { method, host, path }: RecalledRequest, pathTo: number) {
    this.method = method;
    this.host = host;
    this.url_path = path ?? check.pathUpTo(pathTo);
    this.#check = check;
  }

  get path(): string {
    return this.#check.headers.pseudo(":path") ?? "";
  }
}

/** What a record says of a request that could not be read: as it came, without its query, on one short line. */
function unreadRequest(check: Check): { method: string; host: string; path: string } {
  const { headers } = check;
  const [path = ""] = (headers.pseudo(":path") ?? "").split(/[?#]/);
  return {
    method: plainText(headers.pseudo(":method") ?? ""),
    host: plainText(headers.pseudo(":authority") ?? ""),
    path: plainText(path),
  };
}

let lastTime = Number.NaN;
let lastTimeText = "";

/** RFC 3339; decisions of one millisecond share it. */
function timeText(ms: number): string {
  if (ms !== lastTime) {
    lastTimeText = new Date(ms).toISOString();
    lastTime = ms;
  }
  return lastTimeText;
}
