import { type Failure, type Timestamp, timestampOfMilliseconds } from "./cel/index.ts";
import { COUNTRIES, type CountriesView } from "./countries.ts";
import type { ConnectionAttributes, DecisionInput, PeerAttributes, RequestAttributes, Subject } from "./decision.ts";
import type { Processing } from "./processing.ts";
import type { ApplicationFacts, ModelFacts, ModelTarget, Target } from "./program.ts";
import type { ScoreFacts } from "./standing.ts";
import { boundedText, dynamicValue, everyValue, singleValues, textMap, type Unreadable } from "./values.ts";

/**
 * What expressions read: one class a record type of the vocabulary, because the expression engine tells records that
 * it knows as dyn by their constructor. A field that is `undefined` is missing. Values are those of the engine: integers
 * are bigint, maps are Map. Views of what a request says convert when first read; most rules read little.
 */

type Text = string | Unreadable;

export class RequestView {
  readonly method: Text;
  readonly scheme: Text;
  readonly host: Text;
  readonly path: Text;
  readonly url_path: Text;
  readonly query: Text;
  readonly protocol: Text;
  readonly id: Text;
  readonly size: bigint | undefined;
  readonly time: Timestamp | Failure;
  readonly #headers: ReadonlyMap<string, readonly string[]>;
  #single: Map<string, unknown> | Unreadable | undefined;
  #every: Map<string, unknown> | Unreadable | undefined;

  constructor(request: RequestAttributes) {
    this.method = boundedText(request.method);
    this.scheme = boundedText(request.scheme);
    this.host = boundedText(request.host);
    this.path = boundedText(request.path);
    this.url_path = boundedText(request.url_path);
    this.query = boundedText(request.query);
    this.protocol = boundedText(request.protocol);
    this.id = boundedText(request.id);
    this.size = Number.isSafeInteger(request.size) && request.size >= 0 ? BigInt(request.size) : undefined;
    this.time = timestampOfMilliseconds(request.time);
    this.#headers = request.headers;
  }

  get headers(): Map<string, unknown> | Unreadable {
    this.#single ??= singleValues(this.#headers);
    return this.#single;
  }

  get header_values(): Map<string, unknown> | Unreadable {
    this.#every ??= everyValue(this.#headers);
    return this.#every;
  }
}

export class PeerView {
  readonly address: Text;
  readonly port: bigint | undefined;
  readonly principal: Text | undefined;

  constructor(peer: PeerAttributes) {
    this.address = boundedText(peer.address);
    this.port = Number.isSafeInteger(peer.port) ? BigInt(peer.port) : undefined;
    this.principal = peer.principal === undefined ? undefined : boundedText(peer.principal);
  }
}

export class ConnectionView {
  readonly mtls: boolean;
  readonly requested_server_name: Text | undefined;

  constructor({ mtls, requested_server_name: name }: ConnectionAttributes) {
    this.mtls = mtls;
    this.requested_server_name = name === undefined ? undefined : boundedText(name);
  }
}

export class ApplicationView {
  readonly name: string;
  readonly scope: string;
  readonly purpose: string;
  readonly riskTier: string;
  readonly riskBasis: readonly string[];
  readonly decidesAboutPeople: boolean;
  readonly onMarketSince: Timestamp | Failure | undefined;
  readonly declarations: DeclarationsView;
  readonly recordRetentionDays: bigint;
  readonly durability: string;
  readonly dataClasses: readonly string[];
  readonly jurisdictions: readonly string[];
  readonly minimumMaturity: string | undefined;
  readonly labels: Map<string, unknown> | Unreadable;

  constructor(application: ApplicationFacts) {
    this.name = application.key;
    this.scope = application.scope;
    this.purpose = application.purpose;
    this.riskTier = application.riskTier;
    this.riskBasis = application.riskBasis ?? [];
    this.decidesAboutPeople = application.decidesAboutPeople ?? false;
    const { onMarketSince } = application;
    this.onMarketSince = onMarketSince === undefined ? undefined : timestampOfMilliseconds(Date.parse(onMarketSince));
    this.declarations = new DeclarationsView(application.declarations ?? {});
    this.recordRetentionDays = BigInt(application.recordRetentionDays ?? 0);
    this.durability = application.durability;
    this.dataClasses = application.dataClasses;
    this.jurisdictions = application.jurisdictions;
    this.minimumMaturity = application.minimumMaturity;
    this.labels = textMap(application.labels);
  }
}

export class DeclarationsView {
  readonly disclosure: string;
  readonly contentMarking: string;
  readonly humanOversight: string;
  readonly humanReview: string;
  readonly specialCategoryCondition: string;

  constructor(declarations: NonNullable<ApplicationFacts["declarations"]>) {
    this.disclosure = declarations.disclosure ?? "";
    this.contentMarking = declarations.contentMarking ?? "";
    this.humanOversight = declarations.humanOversight ?? "";
    this.humanReview = declarations.humanReview ?? "";
    this.specialCategoryCondition = declarations.specialCategoryCondition ?? "";
  }
}

/** On plain routes a model view without fields, so that `has(model.name)` is false there. */
export class ModelView {
  readonly name: string | undefined;
  readonly names: readonly string[] | undefined;
  readonly labels: Map<string, unknown> | Unreadable | undefined;

  constructor(model: Pick<ModelFacts, "key" | "names" | "labels"> | undefined) {
    this.name = model?.key;
    this.names = model?.names;
    this.labels = model === undefined ? undefined : textMap(model.labels);
  }
}

export class TrainingDataView {
  readonly gdprBasis: string;
  readonly attestation: string | undefined;
  readonly cutoff: string | undefined;

  constructor(data: ModelTarget["trainingData"]) {
    this.gdprBasis = data.gdprBasis;
    this.attestation = data.attestation;
    this.cutoff = data.cutoff;
  }
}

export class CostView {
  readonly input: number;
  readonly output: number;
  readonly currency: string;

  constructor(cost: NonNullable<ModelTarget["cost"]>) {
    this.input = cost.inputPerMillion;
    this.output = cost.outputPerMillion;
    this.currency = cost.currency;
  }
}

export class CapacityView {
  readonly requestsPerMinute: bigint | undefined;
  readonly tokensPerMinute: bigint | undefined;

  constructor({ requestsPerMinute, tokensPerMinute }: NonNullable<ModelTarget["capacity"]>) {
    this.requestsPerMinute = requestsPerMinute === undefined ? undefined : BigInt(requestsPerMinute);
    this.tokensPerMinute = tokensPerMinute === undefined ? undefined : BigInt(tokensPerMinute);
  }
}

/** What of a target depends on the caller and the time. */
export interface TargetStanding {
  /** Whether an Approval lets its version answer; undefined for plain upstreams. Asked only where it is read. */
  readonly approved: () => boolean | undefined;
  /** Names of its certifications that are valid now. */
  readonly certifications: readonly string[] | undefined;
  readonly scores: ScoreFacts | undefined;
  readonly processing: Processing | undefined;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** What rules seldom read is made when it is read. */
export class TargetView {
  readonly #model: ModelTarget | undefined;
  readonly #standing: TargetStanding;
  readonly kind: string;
  readonly pool: string;
  readonly upstream: string;
  readonly credential: string;
  readonly labels: Map<string, unknown> | Unreadable;
  readonly model: string | undefined;
  readonly version: string | undefined;
  readonly versionName: string | undefined;
  readonly age: bigint | undefined;
  readonly deployment: string | undefined;
  readonly provider: string | undefined;
  readonly maturity: string | undefined;
  readonly region: string | undefined;
  readonly country: string | undefined;
  readonly api: string | undefined;
  readonly wireName: string | undefined;
  readonly trainingData: TrainingDataView | undefined;
  readonly certifications: readonly string[] | undefined;
  readonly scores: ReadonlyMap<string, number> | undefined;
  readonly cost: CostView | undefined;
  readonly latencyMs: bigint | undefined;

  constructor(target: Target, standing: TargetStanding) {
    const { model } = target;
    this.#model = model;
    this.#standing = standing;
    this.kind = target.kind;
    this.pool = target.pool;
    this.upstream = target.upstream;
    this.credential = target.credential;
    this.labels = textMap(target.labels);
    this.model = model?.model;
    this.version = model?.version;
    this.versionName = model?.versionName;
    this.age = model === undefined ? undefined : BigInt(model.age);
    this.deployment = model?.deployment;
    this.provider = model?.provider;
    this.maturity = model?.maturity;
    this.region = model?.region;
    this.country = model?.country;
    this.api = model?.api;
    this.wireName = model?.wireName;
    this.trainingData = model === undefined ? undefined : new TrainingDataView(model.trainingData);
    this.certifications = standing.certifications;
    this.scores = standing.scores?.values;
    this.cost = model?.cost === undefined ? undefined : new CostView(model.cost);
    this.latencyMs = model?.latencyMs === undefined ? undefined : BigInt(model.latencyMs);
  }

  get approved(): boolean | undefined {
    return this.#standing.approved();
  }
  get countries(): readonly string[] | undefined {
    return this.#standing.processing?.countries;
  }
  get safeguardedCountries(): readonly string[] | undefined {
    return this.#standing.processing?.safeguardedCountries(this.#standing.now);
  }
  get agreements(): readonly string[] | undefined {
    return this.#standing.processing?.agreements(this.#standing.now);
  }
  get subprocessorAgreements(): readonly string[] | undefined {
    return this.#standing.processing?.subprocessorAgreements(this.#standing.now);
  }
  get scoreTimes(): ReadonlyMap<string, unknown> | undefined {
    return this.#standing.scores?.times;
  }
  get scoreSamples(): ReadonlyMap<string, bigint> | undefined {
    return this.#standing.scores?.samples;
  }
  get generalPurpose(): string | undefined {
    return this.#model === undefined ? undefined : (this.#model.generalPurpose ?? "no");
  }
  get providerDocumentation(): string | undefined {
    return this.#model === undefined ? undefined : (this.#model.documentation?.provider ?? "");
  }
  get systemicRiskDocumentation(): string | undefined {
    return this.#model === undefined ? undefined : (this.#model.documentation?.systemicRisk ?? "");
  }
  get digest(): string | undefined {
    return this.#model?.digest;
  }
  get owner(): string | undefined {
    return this.#model?.owner;
  }
  get capacity(): CapacityView | undefined {
    const capacity = this.#model?.capacity;
    return capacity === undefined ? undefined : new CapacityView(capacity);
  }
}

/**
 * A map and no record: which fields it has is the application's to say. The three of ours cannot be replaced by a
 * mapping.
 */
export function subjectView(subject: Subject): Map<string, unknown> {
  const view = new Map<string, unknown>();
  for (const [field, value] of Object.entries(subject.fields)) view.set(field, boundedText(value));
  view.set("kind", subject.kind);
  view.set("id", boundedText(subject.id));
  view.set("claims", dynamicValue(subject.claims));
  return view;
}

/** The views of one request, each made when an expression first reads it. */
export class RequestFacts {
  readonly #input: DecisionInput;
  #request: RequestView | undefined;
  #source: PeerView | undefined;
  #destination: PeerView | undefined;
  #connection: ConnectionView | undefined;
  #metadata: unknown;
  #xds: Map<string, unknown> | Unreadable | undefined;
  #subject: Map<string, unknown> | undefined;
  #application: ApplicationView | undefined;
  #now: Timestamp | Failure | undefined;

  constructor(input: DecisionInput) {
    this.#input = input;
  }

  get request(): RequestView {
    this.#request ??= new RequestView(this.#input.request);
    return this.#request;
  }
  get source(): PeerView {
    this.#source ??= new PeerView(this.#input.source);
    return this.#source;
  }
  get destination(): PeerView {
    this.#destination ??= new PeerView(this.#input.destination);
    return this.#destination;
  }
  get connection(): ConnectionView {
    this.#connection ??= new ConnectionView(this.#input.connection);
    return this.#connection;
  }
  get metadata(): unknown {
    this.#metadata ??= dynamicValue(this.#input.metadata);
    return this.#metadata;
  }
  get xds(): Map<string, unknown> | Unreadable {
    this.#xds ??= textMap(this.#input.xds);
    return this.#xds;
  }
  get subject(): Map<string, unknown> {
    this.#subject ??= subjectView(this.#input.subject);
    return this.#subject;
  }
  get application(): ApplicationView {
    this.#application ??= new ApplicationView(this.#input.application);
    return this.#application;
  }
  get now(): Timestamp | Failure {
    this.#now ??= timestampOfMilliseconds(this.#input.now);
    return this.#now;
  }
}

/** The variables of one evaluation, by their names in expressions. `target` only where the rule is about one. */
export class RuleContext {
  readonly #facts: RequestFacts;
  readonly model: ModelView;
  readonly target: TargetView | undefined;
  readonly countries: CountriesView = COUNTRIES;

  constructor(facts: RequestFacts, model: ModelView, target?: TargetView) {
    this.#facts = facts;
    this.model = model;
    this.target = target;
  }

  get request(): RequestView {
    return this.#facts.request;
  }
  get source(): PeerView {
    return this.#facts.source;
  }
  get destination(): PeerView {
    return this.#facts.destination;
  }
  get connection(): ConnectionView {
    return this.#facts.connection;
  }
  get metadata(): unknown {
    return this.#facts.metadata;
  }
  get xds(): Map<string, unknown> | Unreadable {
    return this.#facts.xds;
  }
  get subject(): Map<string, unknown> {
    return this.#facts.subject;
  }
  get application(): ApplicationView {
    return this.#facts.application;
  }
  get now(): Timestamp | Failure {
    return this.#facts.now;
  }
}
