import { z } from "zod";
import { complaint, refused } from "./complaint.ts";
import { labels, name, prose, scope, text } from "./fields.ts";

/** The annotation of a Gateway that switches it to observe mode. */
export const MODE_ANNOTATION = "chancery.dev/mode";

/** The annotation with which an object accepts findings of the check about it: codes, separated by commas. */
const FINDINGS_ANNOTATION = "chancery.dev/accepted-findings";

const OWN_ANNOTATIONS: Readonly<Record<string, readonly string[]>> = {
  Gateway: [MODE_ANNOTATION],
  Application: [FINDINGS_ANNOTATION],
  Approval: [FINDINGS_ANNOTATION],
  Model: [FINDINGS_ANNOTATION],
  ModelVersion: [FINDINGS_ANNOTATION],
  Policy: [FINDINGS_ANNOTATION],
  LawPack: [FINDINGS_ANNOTATION],
};

/** Annotations of others pass; of ours, only those that mean something on `kind`. */
function annotations(kind: string) {
  const known = OWN_ANNOTATIONS[kind] ?? [];
  return z.record(text(317), prose(262_144)).check((context) => {
    for (const key of Object.keys(context.value)) {
      if (!key.startsWith("chancery.dev/") || known.includes(key)) continue;
      const hint = known.length === 0 ? `${kind} has none` : `known here: ${known.join(", ")}`;
      const message = complaint("unknown-field", `unknown annotation "${key}"`, hint);
      context.issues.push({ code: "custom", input: key, path: [key], message });
    }
  });
}

const base = (kind: string) => ({
  name,
  namespace: scope.exactOptional().describe("If given, it must be the scope: the directory of this file."),
  labels: labels.default({}),
  annotations: annotations(kind).default({}),
  generateName: refused("unsupported", "generateName is not supported", "write a name"),
});

/** `metadata` of our own kinds. */
export const metadata = (kind: string) => z.strictObject(base(kind));

/**
 * `metadata` of kinds that are exported from clusters: what a Kubernetes API server fills in is taken and has no
 * effect, as with `kubectl apply`.
 */
export const exportedMetadata = (kind: string) =>
  z.strictObject({
    ...base(kind),
    creationTimestamp: z.unknown().exactOptional(),
    generation: z.unknown().exactOptional(),
    managedFields: z.unknown().exactOptional(),
    resourceVersion: z.unknown().exactOptional(),
    selfLink: z.unknown().exactOptional(),
    uid: z.unknown().exactOptional(),
  });

export interface Metadata {
  readonly name: string;
  readonly namespace?: string;
  readonly labels: Record<string, string>;
  readonly annotations: Record<string, string>;
}
