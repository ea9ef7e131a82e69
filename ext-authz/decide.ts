import type { JsonObject } from "@bufbuild/protobuf";
import type { LayoutRoute } from "../compiler/index.ts";
import { changedInput, type DecisionInput, type Requested, type Target, type Verdict } from "../policy/index.ts";
import type { Key } from "../resources/index.ts";
import { rewrites } from "./chain.ts";
import { CheckInput, NOTHING_ASKED } from "./check-input.ts";
import type { WireCheck } from "./check-request.ts";
import type { DecisionContext } from "./decision-context.ts";
import { type Refusal, refusal } from "./denials.ts";
import { Draft, RecalledTarget } from "./draft.ts";
import { type Identity, identify } from "./identity.ts";
import type { KnownIdentity } from "./identity-cache.ts";
import { drawMirror } from "./mirror.ts";
import type { ModelReading } from "./model-source.ts";
import type { Outcome } from "./outcome.ts";
import { readMetadata, readRequest } from "./request-attributes.ts";
import type { Drawn, Recalled } from "./request-memo.ts";
import type { DecisionTables, RouteTable } from "./tables.ts";

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
  const table = context.tables.routes.find(check);
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
  const table = context.tables.routes.find(check);
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
