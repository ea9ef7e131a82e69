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
  TargetView,
  TrainingDataView,
} from "./views.ts";

/**
 * The words of rules: every variable with its type, in CEL's names, and whether it can be missing. The expression
 * engine, `chancery schema` and the docs all read this one table.
 */

/**
 * When a field is there: always; `sometimes` (an unguarded read in a deny or restrict rule is an error of the check);
 * `modelTarget`/`modelRoute`: wherever a model answers, and nowhere else.
 */
export type Presence = "always" | "sometimes" | "modelTarget" | "modelRoute";

export interface FieldDeclaration {
  /** A CEL type, or the name of a record below. */
  readonly type: string;
  readonly presence: Presence;
  readonly description: string;
}

export interface RecordDeclaration {
  /** Values of this record are instances of this class. */
  readonly view: abstract new (
    ...parameters: never[]
  ) => object;
  readonly fields: Readonly<Record<string, FieldDeclaration>>;
}

export interface VariableDeclaration extends FieldDeclaration {
  /** Only in rules about a target: restrict and prefer. */
  readonly aboutTarget?: true;
}

function always(type: string, description: string): FieldDeclaration {
  return { type, presence: "always", description };
}
function sometimes(type: string, description: string): FieldDeclaration {
  return { type, presence: "sometimes", description };
}
function modelTarget(type: string, description: string): FieldDeclaration {
  return { type, presence: "modelTarget", description };
}
function modelRoute(type: string, description: string): FieldDeclaration {
  return { type, presence: "modelRoute", description };
}

export const RECORDS: Readonly<Record<string, RecordDeclaration>> = {
  "chancery.Request": {
    view: RequestView,
    fields: {
      method: always("string", "HTTP method, as sent."),
      scheme: always("string", "http or https."),
      host: always("string", "Host, lower case, without port and trailing dot."),
      path: always("string", "Path and query as Envoy routes it."),
      url_path: always("string", "Path in canonical form, without query."),
      query: always("string", "Query without the question mark; empty when there is none."),
      protocol: always("string", "HTTP/1.0, HTTP/1.1, HTTP/2 or HTTP/3."),
      id: always("string", "Envoy's request id."),
      size: sometimes("int", "Bytes of the body; missing when not known."),
      time: always("google.protobuf.Timestamp", "When Envoy got the first byte."),
      headers: always("map<string, string>", "Header by lower-case name; a repeated header cannot be read here."),
      header_values: always("map<string, list<string>>", "Every value of a header by lower-case name, in order."),
    },
  },
  "chancery.Peer": {
    view: PeerView,
    fields: {
      address: always("string", "IP address."),
      port: always("int", "Port."),
      principal: sometimes("string", "URI SAN of a verified certificate."),
    },
  },
  "chancery.Connection": {
    view: ConnectionView,
    fields: {
      mtls: always("bool", "Whether the client showed a certificate, which Envoy has verified."),
      requested_server_name: sometimes("string", "Server name of the TLS handshake (SNI); missing without one."),
    },
  },
  "chancery.Application": {
    view: ApplicationView,
    fields: {
      name: always("string", "Key of the Application."),
      scope: always("string", 'Its scope, "." for the root.'),
      purpose: always("string", "What it is for, as declared."),
      riskTier: always("string", "prohibited, high, transparency, limited or minimal."),
      riskBasis: always("list<string>", "Why its risk is what it is, as declared."),
      decidesAboutPeople: always("bool", "Whether it decides about people by itself."),
      onMarketSince: sometimes("google.protobuf.Timestamp", "Since when it is on the market."),
      declarations: always("chancery.Declarations", "What its owner declares."),
      recordRetentionDays: always("int", "Days for which its records are kept; 0 when nothing is declared."),
      durability: always("string", "strict or bestEffort."),
      dataClasses: always("list<string>", "Classes of data it sends."),
      jurisdictions: always("list<string>", "Jurisdictions it works under."),
      minimumMaturity: sometimes("string", "Lowest maturity it accepts."),
      labels: always("map<string, string>", "Labels of the Application."),
    },
  },
  "chancery.Declarations": {
    view: DeclarationsView,
    fields: {
      disclosure: always("string", "How people are told that they deal with AI; empty when nothing is declared."),
      contentMarking: always("string", "How generated content is marked; empty when nothing is declared."),
      humanOversight: always("string", "How people oversee it; empty when nothing is declared."),
      humanReview: always("string", "How a person reviews its decisions; empty when nothing is declared."),
      specialCategoryCondition: always("string", "Condition for special categories of data; empty when none is."),
    },
  },
  "chancery.Model": {
    view: ModelView,
    fields: {
      name: modelRoute("string", "Key of the Model."),
      names: modelRoute("list<string>", "Names by which applications ask for it."),
      labels: modelRoute("map<string, string>", "Labels of the Model."),
    },
  },
  "chancery.TrainingData": {
    view: TrainingDataView,
    fields: {
      gdprBasis: always("string", "Attested lawful basis (GDPR Art. 6); empty when nothing is attested."),
      attestation: sometimes("string", "Reference of the attestation."),
      cutoff: sometimes("string", "Date up to which data went in."),
    },
  },
  "chancery.Cost": {
    view: CostView,
    fields: {
      input: always("double", "Price of a million input tokens."),
      output: always("double", "Price of a million output tokens."),
      currency: always("string", "ISO 4217 code."),
    },
  },
  "chancery.Capacity": {
    view: CapacityView,
    fields: {
      requestsPerMinute: sometimes("int", "Requests a minute that it is made for."),
      tokensPerMinute: sometimes("int", "Tokens a minute that it is made for."),
    },
  },
  "chancery.Target": {
    view: TargetView,
    fields: {
      kind: always("string", "model or upstream."),
      pool: always("string", "Name of the pool."),
      upstream: always("string", "Key of the Upstream."),
      credential: always("string", "passThrough, none or inject."),
      labels: always("map<string, string>", "Labels of the Upstream or Deployment."),
      model: modelTarget("string", "Key of its Model."),
      version: modelTarget("string", "Key of its ModelVersion."),
      versionName: modelTarget("string", "The version's own name."),
      age: modelTarget("int", "Place among the model's versions, 0 the oldest."),
      deployment: modelTarget("string", "Key of the Deployment."),
      provider: modelTarget("string", "Who provides the version."),
      maturity: modelTarget("string", "experimental, shadow, canary, production, deprecated or retired."),
      region: modelTarget("string", "Region it runs in."),
      country: modelTarget("string", "Country it runs in (ISO 3166-1 alpha-2)."),
      countries: modelTarget("list<string>", "Its country and those of its subprocessors."),
      safeguardedCountries: modelTarget(
        "list<string>",
        "Those of its countries that a recorded safeguard or an adequacy decision covers now.",
      ),
      agreements: modelTarget(
        "list<string>",
        "Agreements in force with whoever runs it: data-processing, business-associate.",
      ),
      subprocessorAgreements: modelTarget("list<string>", "Agreements in force with every one of its subprocessors."),
      api: modelTarget("string", "Provider API: openai-chat, anthropic-messages and the like."),
      wireName: modelTarget("string", "The model's name in requests to it."),
      trainingData: modelTarget("chancery.TrainingData", "What the version was trained on."),
      certifications: modelTarget("list<string>", "Names of the certifications that are valid now."),
      scores: modelTarget("map<string, double>", 'Score by metric, or by "metric/slice".'),
      scoreTimes: modelTarget(
        "map<string, google.protobuf.Timestamp>",
        "When a score was evaluated, by the same keys.",
      ),
      scoreSamples: modelTarget("map<string, int>", "Samples that a score was evaluated on, by the same keys."),
      generalPurpose: modelTarget("string", "no, general or systemic."),
      providerDocumentation: modelTarget("string", "Reference of the provider's documentation; empty when none is."),
      systemicRiskDocumentation: modelTarget("string", "Reference of the assessment of systemic risks; or empty."),
      digest: sometimes("string", "Digest of the version."),
      owner: sometimes("string", "Who answers for the version."),
      capacity: sometimes("chancery.Capacity", "What it is made for."),
      cost: sometimes("chancery.Cost", "What its tokens cost."),
      latencyMs: sometimes("int", "Milliseconds in which its answers are declared to begin (median)."),
      approved: modelTarget(
        "bool",
        "Whether a valid Approval for the version and the application exists, with all of its conditions true.",
      ),
    },
  },
  "chancery.Countries": {
    view: CountriesView,
    fields: {
      EU: always("list<string>", "The 27 members of the European Union (ISO 3166-1 alpha-2)."),
      EEA: always("list<string>", "The European Union with Iceland, Liechtenstein and Norway."),
    },
  },
};

export const VARIABLES: Readonly<Record<string, VariableDeclaration>> = {
  request: always("chancery.Request", "The request as Envoy matched it."),
  source: always("chancery.Peer", "The client's end of the connection."),
  destination: always("chancery.Peer", "Envoy's end of the connection."),
  connection: always("chancery.Connection", "The client's connection to Envoy."),
  metadata: always("map<string, dyn>", "Filter metadata that Envoy sent, by namespace."),
  xds: always("map<string, string>", "Context extensions of the route: route and layout."),
  subject: always("map<string, dyn>", "Who asks: kind, id, claims, and the fields that the Application maps."),
  application: always("chancery.Application", "The use case that asks."),
  model: always(
    "chancery.Model",
    "The model asked for, after reroutes what is asked for instead; no fields elsewhere.",
  ),
  now: always("google.protobuf.Timestamp", "The time of the decision."),
  countries: always("chancery.Countries", "Lists of country codes."),
  target: { ...always("chancery.Target", "The pool in question."), aboutTarget: true },
};

/** The variables of approval rules, and what they can read of `target`: what a version has wherever it runs. */
export const APPROVAL_WORDS: { readonly variables: ReadonlySet<string>; readonly target: ReadonlySet<string> } = {
  variables: new Set(["application", "target", "countries"]),
  target: new Set([
    ...["model", "version", "versionName", "age", "provider", "maturity", "digest", "owner", "labels"],
    ...["trainingData", "certifications", "scores", "scoreTimes", "scoreSamples"],
    ...["generalPurpose", "providerDocumentation", "systemicRiskDocumentation"],
  ]),
};

/** What is known of the keys of maps that are variables; "<name>" stands for every other one. */
const KNOWN_KEYS: Readonly<Record<string, Readonly<Record<string, FieldDeclaration>>>> = {
  subject: {
    kind: always("string", "jwt, apiKey, mtls or anonymous."),
    id: always("string", "The sub claim, the API key's id, the URI SAN or anonymous."),
    claims: always("map<string, dyn>", "Verified JWT claims."),
    "<name>": sometimes("string", "A field that the Application maps, such as region or tenant."),
  },
  xds: {
    route: always("string", "Id of the route that matched."),
    layout: always("string", "Hash of the route table that the Envoy runs."),
    node_group: always("string", "Node group of the Envoy: the key of its Gateway."),
  },
};

/**
 * What is declared at a path from a variable; undefined where the path leads into what has no members. A key of a map
 * is there sometimes.
 */
export function declarationAt([root = "", ...names]: readonly string[]): FieldDeclaration | undefined {
  const known = Object.hasOwn(KNOWN_KEYS, root) ? KNOWN_KEYS[root] : undefined;
  let at: FieldDeclaration | undefined = Object.hasOwn(VARIABLES, root) ? VARIABLES[root] : undefined;
  for (const [index, name] of names.entries()) {
    if (at === undefined) return undefined;
    if (index === 0 && known !== undefined && Object.hasOwn(known, name)) at = known[name];
    else at = (index === 0 ? known?.["<name>"] : undefined) ?? memberAt(at.type, name);
  }
  return at;
}

function memberAt(type: string, name: string): FieldDeclaration | undefined {
  const fields = RECORDS[type]?.fields;
  if (fields !== undefined) return Object.hasOwn(fields, name) ? fields[name] : undefined;
  if (type === "dyn") return sometimes("dyn", "A member of data of no declared type.");
  const value = /^map<string, (.*)>$/.exec(type)?.[1];
  return value === undefined ? undefined : sometimes(value, "A key of a map.");
}

/** One line of the rule vocabulary. */
export interface VocabularyEntry {
  /** As it is written in a rule: "request.method", "target.trainingData.gdprBasis". */
  readonly path: string;
  readonly type: string;
  /** Whether a read never finds it missing. `target.*` and `model.*` of models: false, plain upstreams have none. */
  readonly required: boolean;
  readonly presence: Presence;
  readonly description: string;
  readonly readableIn: "every rule" | "restrict and prefer rules";
}

/** Every word that a rule can read, in the order of the docs. */
export function vocabulary(): readonly VocabularyEntry[] {
  return Object.entries(VARIABLES).flatMap(([name, variable]) => {
    const readableIn = variable.aboutTarget === true ? "restrict and prefer rules" : "every rule";
    return describe(name, variable, "always", readableIn);
  });
}

function describe(
  path: string,
  field: FieldDeclaration,
  inside: Presence,
  readableIn: VocabularyEntry["readableIn"],
): readonly VocabularyEntry[] {
  const presence = field.presence === "always" || inside === "sometimes" ? inside : field.presence;
  const members = KNOWN_KEYS[path] ?? RECORDS[field.type]?.fields;
  if (members !== undefined) {
    return Object.entries(members).flatMap(([name, member]) =>
      describe(`${path}.${name}`, member, presence, readableIn),
    );
  }
  const type = field.type === "google.protobuf.Timestamp" ? "timestamp" : field.type;
  const required = presence === "always";
  return [{ path, type, required, presence, description: field.description, readableIn }];
}
