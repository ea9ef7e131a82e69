import { z } from "zod";
import { applicationSpec } from "./schema/application.ts";
import { approvalSpec } from "./schema/approval.ts";
import { approvalRuleSpec } from "./schema/approval-rule.ts";
import { deploymentSpec } from "./schema/deployment.ts";
import { gatewaySpec } from "./schema/gateway.ts";
import { httpRouteSpec } from "./schema/http-route.ts";
import { lawPackSpec } from "./schema/law-pack.ts";
import { exportedMetadata, type Metadata, metadata } from "./schema/metadata.ts";
import { modelSpec } from "./schema/model.ts";
import { modelVersionSpec } from "./schema/model-version.ts";
import { policySpec } from "./schema/policy.ts";
import { policyTestSpec } from "./schema/policy-test.ts";
import { quarantineSpec } from "./schema/quarantine.ts";
import { referenceGrantSpec } from "./schema/reference-grant.ts";
import { secretSpec } from "./schema/secret.ts";
import { experimentSpec, rolloutSpec } from "./schema/split.ts";
import { upstreamSpec } from "./schema/upstream.ts";

/** What people may write under `spec`, defaults filled in and durations in milliseconds, references not yet resolved. */
export interface Specs {
  readonly Gateway: z.output<typeof gatewaySpec>;
  readonly HTTPRoute: z.output<typeof httpRouteSpec>;
  readonly ReferenceGrant: z.output<typeof referenceGrantSpec>;
  readonly Secret: z.output<typeof secretSpec>;
  readonly Upstream: z.output<typeof upstreamSpec>;
  readonly Model: z.output<typeof modelSpec>;
  readonly ModelVersion: z.output<typeof modelVersionSpec>;
  readonly Deployment: z.output<typeof deploymentSpec>;
  readonly Application: z.output<typeof applicationSpec>;
  readonly Approval: z.output<typeof approvalSpec>;
  readonly ApprovalRule: z.output<typeof approvalRuleSpec>;
  readonly Policy: z.output<typeof policySpec>;
  readonly LawPack: z.output<typeof lawPackSpec>;
  readonly Rollout: z.output<typeof rolloutSpec>;
  readonly Experiment: z.output<typeof experimentSpec>;
  readonly Quarantine: z.output<typeof quarantineSpec>;
  readonly PolicyTest: z.output<typeof policyTestSpec>;
}
export type Kind = keyof Specs;

export interface Envelope<S> {
  readonly metadata: Metadata;
  readonly spec: S;
}

interface KindDefinition<S> {
  readonly apiVersions: readonly [string, ...string[]];
  readonly schema: z.ZodType<Envelope<S>>;
}

/** A kind of Gateway API. `status` is what a cluster writes into objects that are exported from it. */
function gatewayApi<S>(kind: string, spec: z.ZodType<S>, ...older: string[]): KindDefinition<S> {
  const apiVersions = ["gateway.networking.k8s.io/v1", ...older.map((v) => `gateway.networking.k8s.io/${v}`)] as const;
  const schema = z.strictObject({
    apiVersion: z.enum(apiVersions),
    kind: z.literal(kind),
    metadata: exportedMetadata(kind),
    spec,
    status: z.unknown().exactOptional(),
  });
  return { apiVersions, schema };
}

function own<S>(kind: string, spec: z.ZodType<S>): KindDefinition<S> {
  const schema = z.strictObject({
    apiVersion: z.literal("chancery.dev/v1"),
    kind: z.literal(kind),
    metadata: metadata(kind),
    spec,
  });
  return { apiVersions: ["chancery.dev/v1"], schema };
}

export const KINDS: { readonly [K in Kind]: KindDefinition<Specs[K]> } = {
  Gateway: gatewayApi("Gateway", gatewaySpec),
  HTTPRoute: gatewayApi("HTTPRoute", httpRouteSpec),
  ReferenceGrant: gatewayApi("ReferenceGrant", referenceGrantSpec, "v1beta1"),
  Secret: own("Secret", secretSpec),
  Upstream: own("Upstream", upstreamSpec),
  Model: own("Model", modelSpec),
  ModelVersion: own("ModelVersion", modelVersionSpec),
  Deployment: own("Deployment", deploymentSpec),
  Application: own("Application", applicationSpec),
  Approval: own("Approval", approvalSpec),
  ApprovalRule: own("ApprovalRule", approvalRuleSpec),
  Policy: own("Policy", policySpec),
  LawPack: own("LawPack", lawPackSpec),
  Rollout: own("Rollout", rolloutSpec),
  Experiment: own("Experiment", experimentSpec),
  Quarantine: own("Quarantine", quarantineSpec),
  PolicyTest: own("PolicyTest", policyTestSpec),
};

export const KIND_NAMES = Object.keys(KINDS) as readonly Kind[];

export function isKind(name: string): name is Kind {
  return Object.hasOwn(KINDS, name);
}
