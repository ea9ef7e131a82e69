import { z } from "zod";
import { AGREEMENT_KINDS, GENERAL_PURPOSE, MATURITIES } from "../resources/index.ts";

/**
 * What JSON parts look like, format 1. Strict: a member that this build does not know could be a condition that it would
 * fail to apply, so whoever adds one raises the format version. `part-schemas.test.ts` holds them equal to the types.
 */
const text = z.string();
const texts = z.array(text);
const textMap = z.record(text, text);
const maturity = z.enum(MATURITIES);
const optional = <T extends z.ZodType>(schema: T) => z.exactOptional(schema);

const modelSource = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("body"), pointer: text }),
  z.strictObject({ type: z.literal("query"), parameter: text }),
  z.strictObject({ type: z.literal("header"), header: text }),
  z.strictObject({ type: z.literal("path"), template: text }),
  z.strictObject({ type: z.literal("route") }),
]);

const rule = z.strictObject({
  id: text,
  scope: text,
  target: optional(z.strictObject({ kind: z.enum(["Gateway", "HTTPRoute", "Model"]), key: text })),
  effect: z.enum(["deny", "allow", "restrict", "reroute", "prefer"]),
  mode: z.enum(["enforce", "shadow", "off"]),
  when: optional(text),
  require: optional(text),
  to: optional(z.strictObject({ model: optional(text), version: optional(text), upstream: optional(text) })),
  score: optional(text),
  reason: text,
  references: texts,
  owner: optional(text),
  effectiveFrom: optional(text),
  effectiveTo: optional(text),
});

const application = z.strictObject({
  key: text,
  scope: text,
  mode: z.enum(["enforce", "observe"]),
  purpose: text,
  riskTier: text,
  riskBasis: optional(texts),
  decidesAboutPeople: optional(z.boolean()),
  onMarketSince: optional(text),
  declarations: optional(
    z.strictObject({
      disclosure: optional(text),
      contentMarking: optional(text),
      humanOversight: optional(text),
      humanReview: optional(text),
      specialCategoryCondition: optional(text),
    }),
  ),
  recordRetentionDays: optional(z.number()),
  dataClasses: texts,
  jurisdictions: texts,
  minimumMaturity: optional(maturity),
  minimumScores: z.array(
    z.strictObject({
      metric: text,
      slice: text,
      value: z.number(),
      n: optional(z.number()),
      maxAgeMs: optional(z.number()),
    }),
  ),
  durability: z.enum(["strict", "bestEffort"]),
  substitutes: texts,
  stickyKey: optional(text),
  apiKeys: z.array(z.strictObject({ id: text, sha256: text, subject: textMap })),
  jwt: z.array(z.strictObject({ issuer: text, audiences: texts, claims: textMap, subject: textMap })),
  anonymous: z.boolean(),
  labels: textMap,
});

const model = z.strictObject({
  key: text,
  scope: text,
  names: texts,
  source: modelSource,
  approval: z.enum(["required", "notRequired"]),
  labels: textMap,
});

const modelTarget = z.strictObject({
  model: text,
  version: text,
  versionName: text,
  age: z.number(),
  deployment: text,
  provider: text,
  digest: optional(text),
  owner: optional(text),
  generalPurpose: optional(z.enum(GENERAL_PURPOSE)),
  documentation: optional(z.strictObject({ provider: optional(text), systemicRisk: optional(text) })),
  maturity,
  region: text,
  country: text,
  api: text,
  wireName: text,
  path: optional(text),
  weight: z.number(),
  trainingData: z.strictObject({ gdprBasis: text, attestation: optional(text), cutoff: optional(text) }),
  certifications: z.array(
    z.strictObject({
      name: text,
      reference: optional(text),
      validFrom: optional(text),
      validUntil: optional(text),
    }),
  ),
  scores: z.array(
    z.strictObject({
      metric: text,
      slice: text,
      value: z.number(),
      n: optional(z.number()),
      evaluatedAt: optional(text),
    }),
  ),
  latencyMs: optional(z.number()),
  cost: optional(z.strictObject({ inputPerMillion: z.number(), outputPerMillion: z.number(), currency: text })),
  capacity: optional(
    z.strictObject({ requestsPerMinute: optional(z.number()), tokensPerMinute: optional(z.number()) }),
  ),
  subprocessors: optional(z.array(z.strictObject({ name: text, country: text }))),
  agreements: optional(
    z.array(
      z.strictObject({
        kind: z.enum(AGREEMENT_KINDS),
        subprocessor: optional(text),
        reference: text,
        validFrom: optional(text),
        validUntil: optional(text),
      }),
    ),
  ),
  safeguards: optional(
    z.array(
      z.strictObject({
        country: text,
        kind: z.enum(["standard-clauses", "binding-rules", "other"]),
        reference: text,
        validFrom: optional(text),
        validUntil: optional(text),
      }),
    ),
  ),
});

const place = { region: optional(text), zone: optional(text) };
const dnsLookup = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.enum(["A", "AAAA"]),
    name: text,
    port: z.number(),
    weight: z.number(),
    priority: z.number(),
    ...place,
  }),
  z.strictObject({ type: z.literal("SRV"), name: text, ...place }),
]);

const target = z.strictObject({
  pool: text,
  kind: z.enum(["model", "upstream"]),
  upstream: text,
  labels: textMap,
  credential: z.enum(["passThrough", "none", "inject"]),
  governed: optional(z.literal(false)),
  ranges: optional(texts),
  dns: optional(z.array(dnsLookup)),
  model: optional(modelTarget),
});

const approval = z.strictObject({
  key: text,
  version: text,
  application: text,
  jurisdictions: texts,
  conditions: optional(texts),
  validFrom: optional(text),
  validUntil: optional(text),
  rule: optional(text),
});

const splitMembers = {
  key: text,
  scope: text,
  model: text,
  when: optional(text),
  stickyKey: optional(text),
  salt: text,
  holdout: z.number(),
  share: z.number(),
};
const split = z.discriminatedUnion("kind", [
  z.strictObject({
    ...splitMembers,
    kind: z.literal("Rollout"),
    to: text,
    from: optional(texts),
    segments: z.array(z.strictObject({ when: text, version: text })),
    mirror: optional(z.strictObject({ version: text, share: z.number() })),
  }),
  z.strictObject({
    ...splitMembers,
    kind: z.literal("Experiment"),
    arms: z.array(z.strictObject({ name: text, version: text, weight: z.number() })),
    validFrom: optional(text),
    validUntil: optional(text),
  }),
]);

export const programSchema = z.strictObject({
  rules: z.array(rule),
  applications: z.array(application),
  models: z.array(model),
  targets: z.array(target),
  approvals: z.array(approval),
  splits: optional(z.array(split)),
  observedGateways: optional(texts),
  restrictions: optional(
    z.array(
      z.strictObject({
        id: text,
        kind: z.enum(["version", "application", "upstream", "region", "rule", "model"]),
        value: text,
        reason: text,
        until: optional(text),
      }),
    ),
  ),
  adequate: optional(z.array(z.strictObject({ country: text, from: optional(text), to: optional(text) }))),
});

export const layoutSchema = z.strictObject({
  hash: text,
  nodeGroup: text,
  plan: optional(z.literal("reduced")),
  routes: z.array(
    z.strictObject({
      id: text,
      gateway: text,
      httpRoute: text,
      scope: text,
      action: z.enum(["plain", "model", "redirect", "modelList"]),
      groups: z.array(
        z.strictObject({ name: text, clusters: z.array(z.strictObject({ name: text, weight: z.number() })) }),
      ),
      attempts: z.number(),
      models: texts,
      budgets: optional(textMap),
      modelSource: optional(modelSource),
      mirrors: optional(z.array(z.strictObject({ cluster: text, share: optional(z.number()) }))),
      body: z.boolean(),
    }),
  ),
});

export const secretsSchema = z.array(
  z.discriminatedUnion("type", [
    z.strictObject({ name: text, type: z.literal("tls"), certificateFile: text, privateKeyFile: text }),
    z.strictObject({ name: text, type: z.literal("ca"), certificateFile: text }),
    z.strictObject({ name: text, type: z.literal("opaque"), valueFile: text }),
  ]),
);
