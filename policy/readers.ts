import { CountriesView } from "./countries.ts";
import {
  ApplicationView,
  CapacityView,
  ConnectionView,
  CostView,
  DeclarationsView,
  ModelView,
  PeerView,
  RequestView,
  RuleContext,
  TargetView,
  TrainingDataView,
} from "./views.ts";

/**
 * How expressions read each word of the vocabulary. Each a function of its own: a read by a computed name is several
 * times slower, and these run for every request.
 */
export type Read = (from: unknown) => unknown;

export const RECORD_READERS: Readonly<Record<string, Readonly<Record<string, Read>>>> = {
  "chancery.Request": {
    method: (record) => (record instanceof RequestView ? record.method : undefined),
    scheme: (record) => (record instanceof RequestView ? record.scheme : undefined),
    host: (record) => (record instanceof RequestView ? record.host : undefined),
    path: (record) => (record instanceof RequestView ? record.path : undefined),
    url_path: (record) => (record instanceof RequestView ? record.url_path : undefined),
    query: (record) => (record instanceof RequestView ? record.query : undefined),
    protocol: (record) => (record instanceof RequestView ? record.protocol : undefined),
    id: (record) => (record instanceof RequestView ? record.id : undefined),
    size: (record) => (record instanceof RequestView ? record.size : undefined),
    time: (record) => (record instanceof RequestView ? record.time : undefined),
    headers: (record) => (record instanceof RequestView ? record.headers : undefined),
    header_values: (record) => (record instanceof RequestView ? record.header_values : undefined),
  },
  "chancery.Peer": {
    address: (record) => (record instanceof PeerView ? record.address : undefined),
    port: (record) => (record instanceof PeerView ? record.port : undefined),
    principal: (record) => (record instanceof PeerView ? record.principal : undefined),
  },
  "chancery.Connection": {
    mtls: (record) => (record instanceof ConnectionView ? record.mtls : undefined),
    requested_server_name: (record) => (record instanceof ConnectionView ? record.requested_server_name : undefined),
  },
  "chancery.Application": {
    name: (record) => (record instanceof ApplicationView ? record.name : undefined),
    scope: (record) => (record instanceof ApplicationView ? record.scope : undefined),
    purpose: (record) => (record instanceof ApplicationView ? record.purpose : undefined),
    riskTier: (record) => (record instanceof ApplicationView ? record.riskTier : undefined),
    riskBasis: (record) => (record instanceof ApplicationView ? record.riskBasis : undefined),
    decidesAboutPeople: (record) => (record instanceof ApplicationView ? record.decidesAboutPeople : undefined),
    onMarketSince: (record) => (record instanceof ApplicationView ? record.onMarketSince : undefined),
    declarations: (record) => (record instanceof ApplicationView ? record.declarations : undefined),
    recordRetentionDays: (record) => (record instanceof ApplicationView ? record.recordRetentionDays : undefined),
    durability: (record) => (record instanceof ApplicationView ? record.durability : undefined),
    dataClasses: (record) => (record instanceof ApplicationView ? record.dataClasses : undefined),
    jurisdictions: (record) => (record instanceof ApplicationView ? record.jurisdictions : undefined),
    minimumMaturity: (record) => (record instanceof ApplicationView ? record.minimumMaturity : undefined),
    labels: (record) => (record instanceof ApplicationView ? record.labels : undefined),
  },
  "chancery.Declarations": {
    disclosure: (record) => (record instanceof DeclarationsView ? record.disclosure : undefined),
    contentMarking: (record) => (record instanceof DeclarationsView ? record.contentMarking : undefined),
    humanOversight: (record) => (record instanceof DeclarationsView ? record.humanOversight : undefined),
    humanReview: (record) => (record instanceof DeclarationsView ? record.humanReview : undefined),
    specialCategoryCondition: (record) =>
      record instanceof DeclarationsView ? record.specialCategoryCondition : undefined,
  },
  "chancery.Model": {
    name: (record) => (record instanceof ModelView ? record.name : undefined),
    names: (record) => (record instanceof ModelView ? record.names : undefined),
    labels: (record) => (record instanceof ModelView ? record.labels : undefined),
  },
  "chancery.TrainingData": {
    gdprBasis: (record) => (record instanceof TrainingDataView ? record.gdprBasis : undefined),
    attestation: (record) => (record instanceof TrainingDataView ? record.attestation : undefined),
    cutoff: (record) => (record instanceof TrainingDataView ? record.cutoff : undefined),
  },
  "chancery.Cost": {
    input: (record) => (record instanceof CostView ? record.input : undefined),
    output: (record) => (record instanceof CostView ? record.output : undefined),
    currency: (record) => (record instanceof CostView ? record.currency : undefined),
  },
  "chancery.Capacity": {
    requestsPerMinute: (record) => (record instanceof CapacityView ? record.requestsPerMinute : undefined),
    tokensPerMinute: (record) => (record instanceof CapacityView ? record.tokensPerMinute : undefined),
  },
  "chancery.Target": {
    kind: (record) => (record instanceof TargetView ? record.kind : undefined),
    pool: (record) => (record instanceof TargetView ? record.pool : undefined),
    upstream: (record) => (record instanceof TargetView ? record.upstream : undefined),
    credential: (record) => (record instanceof TargetView ? record.credential : undefined),
    labels: (record) => (record instanceof TargetView ? record.labels : undefined),
    model: (record) => (record instanceof TargetView ? record.model : undefined),
    version: (record) => (record instanceof TargetView ? record.version : undefined),
    versionName: (record) => (record instanceof TargetView ? record.versionName : undefined),
    age: (record) => (record instanceof TargetView ? record.age : undefined),
    deployment: (record) => (record instanceof TargetView ? record.deployment : undefined),
    provider: (record) => (record instanceof TargetView ? record.provider : undefined),
    maturity: (record) => (record instanceof TargetView ? record.maturity : undefined),
    region: (record) => (record instanceof TargetView ? record.region : undefined),
    country: (record) => (record instanceof TargetView ? record.country : undefined),
    countries: (record) => (record instanceof TargetView ? record.countries : undefined),
    safeguardedCountries: (record) => (record instanceof TargetView ? record.safeguardedCountries : undefined),
    agreements: (record) => (record instanceof TargetView ? record.agreements : undefined),
    subprocessorAgreements: (record) => (record instanceof TargetView ? record.subprocessorAgreements : undefined),
    api: (record) => (record instanceof TargetView ? record.api : undefined),
    wireName: (record) => (record instanceof TargetView ? record.wireName : undefined),
    trainingData: (record) => (record instanceof TargetView ? record.trainingData : undefined),
    certifications: (record) => (record instanceof TargetView ? record.certifications : undefined),
    scores: (record) => (record instanceof TargetView ? record.scores : undefined),
    scoreTimes: (record) => (record instanceof TargetView ? record.scoreTimes : undefined),
    scoreSamples: (record) => (record instanceof TargetView ? record.scoreSamples : undefined),
    generalPurpose: (record) => (record instanceof TargetView ? record.generalPurpose : undefined),
    providerDocumentation: (record) => (record instanceof TargetView ? record.providerDocumentation : undefined),
    systemicRiskDocumentation: (record) =>
      record instanceof TargetView ? record.systemicRiskDocumentation : undefined,
    digest: (record) => (record instanceof TargetView ? record.digest : undefined),
    owner: (record) => (record instanceof TargetView ? record.owner : undefined),
    capacity: (record) => (record instanceof TargetView ? record.capacity : undefined),
    cost: (record) => (record instanceof TargetView ? record.cost : undefined),
    approved: (record) => (record instanceof TargetView ? record.approved : undefined),
  },
  "chancery.Countries": {
    EU: (record) => (record instanceof CountriesView ? record.EU : undefined),
    EEA: (record) => (record instanceof CountriesView ? record.EEA : undefined),
  },
};

export const VARIABLE_READERS: Readonly<Record<string, Read>> = {
  request: (context) => (context instanceof RuleContext ? context.request : undefined),
  source: (context) => (context instanceof RuleContext ? context.source : undefined),
  destination: (context) => (context instanceof RuleContext ? context.destination : undefined),
  connection: (context) => (context instanceof RuleContext ? context.connection : undefined),
  metadata: (context) => (context instanceof RuleContext ? context.metadata : undefined),
  xds: (context) => (context instanceof RuleContext ? context.xds : undefined),
  subject: (context) => (context instanceof RuleContext ? context.subject : undefined),
  application: (context) => (context instanceof RuleContext ? context.application : undefined),
  model: (context) => (context instanceof RuleContext ? context.model : undefined),
  now: (context) => (context instanceof RuleContext ? context.now : undefined),
  countries: (context) => (context instanceof RuleContext ? context.countries : undefined),
  target: (context) => (context instanceof RuleContext ? context.target : undefined),
};
