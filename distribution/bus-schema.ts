import { z } from "zod";
import { ChanceryError } from "../resources/index.ts";
import { isDigest } from "../revision/index.ts";
import type { HeadAnnouncement, NodeReport } from "./bus.ts";
import { MAX_EPOCH, MAX_REPORT_BYTES, MAX_REPORTER_NAME } from "./bus-limits.ts";

const headSchema = z.strictObject({
  manifest: z.string().refine(isDigest, "not a digest"),
  number: z.int().positive(),
  epoch: z.exactOptional(z.int().positive()),
});

const texts = z.record(z.string(), z.string());
const nodeSchema = z.object({
  id: z.string(),
  group: z.string(),
  knownGroup: z.boolean(),
  envoyVersion: z.string(),
  plan: z.string(),
  connected: z.boolean(),
  lastSeen: z.iso.datetime(),
  acknowledged: z.int().nonnegative(),
  acknowledgedAt: z.exactOptional(z.iso.datetime()),
  layout: z.string(),
  rejection: z.exactOptional(
    z.object({
      typeUrl: z.string(),
      resources: z.array(z.string()),
      message: z.string(),
      at: z.iso.datetime(),
      revision: z.int().nonnegative(),
      standing: z.boolean(),
    }),
  ),
  heldBack: z.exactOptional(
    z.array(
      z.object({
        typeUrl: z.string(),
        name: z.string(),
        revision: z.int().nonnegative(),
        scope: z.string(),
        since: z.iso.datetime(),
      }),
    ),
  ),
});
/** Loose: a report from a newer build says more, and nothing is decided by it. */
const reportSchema = z.object({
  reporter: z.string().min(1).max(MAX_REPORTER_NAME),
  role: z.enum(["authz", "xds", "relay"]),
  at: z.iso.datetime(),
  prepared: z.int().nonnegative(),
  active: z.int().nonnegative(),
  layouts: z.array(z.string()),
  firstDecisions: texts,
  activeSince: texts,
  decisions: z.int().nonnegative(),
  decidedSince: z.exactOptional(texts),
  nodes: z.exactOptional(z.array(nodeSchema)),
  nodeCount: z.exactOptional(z.int().nonnegative()),
  restrictions: z.exactOptional(z.array(z.string())),
  error: z.exactOptional(z.string()),
});

export function encodeHead({ manifest, number, epoch }: HeadAnnouncement): Uint8Array {
  return Buffer.from(JSON.stringify({ manifest, number, epoch }));
}

/**
 * An epoch that no leader could ever go above counts as none.
 *
 * @throws ChanceryError "corrupt"
 */
export function parseHead(bytes: Uint8Array): HeadAnnouncement {
  const { epoch, ...head } = parse(bytes, headSchema, "a head");
  return epoch === undefined || epoch >= MAX_EPOCH ? head : { ...head, epoch };
}

/** @throws ChanceryError "corrupt" */
export function parseReport(bytes: Uint8Array): NodeReport {
  return parse(bytes, reportSchema, "a report");
}

/** @throws ChanceryError "invalid-argument" for a report that no reader would take */
export function encodeReport(report: NodeReport): Uint8Array {
  const bytes = Buffer.from(JSON.stringify(report));
  if (bytes.length > MAX_REPORT_BYTES) {
    throw new ChanceryError("invalid-argument", `a report has ${bytes.length} bytes; at most ${MAX_REPORT_BYTES} fit`);
  }
  try {
    parseReport(bytes);
  } catch (error) {
    throw new ChanceryError("invalid-argument", `a report cannot be sent: ${ChanceryError.from(error).message}`);
  }
  return bytes;
}

function parse<T>(bytes: Uint8Array, schema: z.ZodType<T>, what: string): T {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new ChanceryError("corrupt", `${what} on the bus is not JSON`, { cause: error });
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new ChanceryError("corrupt", `${what} on the bus: ${z.prettifyError(parsed.error).slice(0, 500)}`);
}
