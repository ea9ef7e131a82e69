import type { JsonObject } from "@bufbuild/protobuf";
import type { Allow, DecisionInput, RequestAttributes, Verdict } from "../policy/index.ts";
import type { Answer } from "./answer.ts";
import { plainText } from "./answer.ts";
import type { Chain } from "./chain.ts";
import type { Check, WireCheck } from "./check-request.ts";
import type { DecisionContext } from "./decision-context.ts";
import { DENIALS, type DenialCode, type Refusal } from "./denials.ts";
import type { KnownIdentity } from "./identity-cache.ts";
import { mirrorOnRecord } from "./mirror.ts";
import type { ModelReading } from "./model-source.ts";
import { Decided, type Outcome } from "./outcome.ts";
import type { DecisionRecord } from "./record.ts";
import type { RecalledRequest } from "./request-memo.ts";
import type { RouteTable } from "./tables.ts";

/** Gathers what becomes known of a request, so that a refusal at any point has a whole record. */
export class Draft {
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
    const { groups: targets, approvals } = chain;
    return this.#outcome(make, changes ? undefined : variant, { code: "ok", rule, reason, targets, approvals });
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
      readonly approvals?: Chain["approvals"] | undefined;
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
    if (said.approvals !== undefined) record.approvals = said.approvals;
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
export class RecalledTarget implements AskedTarget {
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
