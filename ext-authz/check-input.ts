import type { JsonObject } from "@bufbuild/protobuf";
import type {
  ApplicationFacts,
  ConnectionAttributes,
  DecisionInput,
  PeerAttributes,
  PlainMirror,
  RequestAttributes,
  Requested,
  Restriction,
  Subject,
  Target,
} from "../policy/index.ts";
import type { Key } from "../resources/index.ts";
import type { WireCheck } from "./check-request.ts";
import type { DecisionContext } from "./decision-context.ts";
import { FEW_HEADERS } from "./headers.ts";
import type { KnownIdentity } from "./identity-cache.ts";
import type { RouteTable } from "./tables.ts";

export const NOTHING_ASKED: Requested = { stream: false };

/** One array, as long as nothing is restricted: verdicts are kept by its identity. */
const UNRESTRICTED: readonly Restriction[] = [];

/** What the policy sees of a Check; what rules seldom read is read when they do. */
export class CheckInput implements DecisionInput {
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
