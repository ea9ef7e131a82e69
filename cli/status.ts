import { toJson } from "@bufbuild/protobuf";
import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { Command, Option } from "commander";
import {
  type GetStatusResponse,
  GetStatusResponseSchema,
  getStatus,
  type Latency,
  type NodeStatus,
} from "../admin/index.ts";
import { ChanceryError, printableLines } from "../resources/index.ts";
import { DEFAULT_ADDRESSES } from "./address.ts";
import { type AdminAccess, addAdminAccess, adminClient } from "./admin-client.ts";
import { KEY_ENDS_SOON_MS } from "./key-expiry.ts";
import { isNearlyFull } from "./operational-log.ts";
import { formatNodeStatus, nodeStatus } from "./status-node.ts";

interface StatusOptions extends AdminAccess {
  readonly control: string;
  readonly why?: string;
  readonly xdsAdmin?: readonly string[];
  readonly format: "text" | "json";
}

/** Beyond, only those are shown that need attention. */
const MANY_NODES = 40;

const HELP = `
Shows the revision in force and who publishes; how long revisions took from the save of a file to each Envoy's
acknowledgement and each decision service's first decision; what each region, Envoy and decision service runs, the last
rejection (NACK) of each Envoy and what it is not given for that; what the kill switch keeps out of use; keys that end within two weeks; an operational log that is nearly full; who is SILENT (nothing was heard for ten seconds), and the scopes whose newest edit was
refused. docs/status.md explains each line.

Examples:
  chancery status
  chancery status --control 127.0.0.1:7070 --format json
  chancery status edge-1 --why team/models
  chancery status edge-1 --xds-admin https://10.0.0.5:9901,https://10.0.0.6:9901 --ca ca.pem --token-file token
`;

/** `chancery status` */
export function statusCommand(): Command {
  const command = new Command("status")
    .argument("[node]", "id of one node: how it stands with each of its resources")
    .option("--why <name>", "with a node: why it has not got the resource of this name")
    .option("--xds-admin <addr,…>", "with a node: admin addresses of the xDS servers (default: --control)", parseList)
    .option("--control <addr>", "admin API of the control plane", DEFAULT_ADDRESSES.control);
  return addAdminAccess(command, "file with the bearer token of the admin API")
    .addOption(new Option("--format <format>", "how to print it").choices(["text", "json"]).default("text"))
    .addHelpText("after", HELP)
    .action(async (node: string | undefined, options: StatusOptions) => {
      if (node !== undefined) {
        const { why, xdsAdmin: servers = [options.control] } = options;
        const page = await nodeStatus({
          ...{ node, why },
          servers: await Promise.all(servers.map((server) => adminClient(server, options))),
        });
        const json = options.format === "json";
        process.stdout.write(json ? `${JSON.stringify(page, undefined, 2)}\n` : formatNodeStatus(page, why));
        return;
      }
      if (options.why !== undefined || options.xdsAdmin !== undefined) {
        throw new ChanceryError("invalid-argument", "--why and --xds-admin are about one node: name it");
      }
      const status = await getStatus(await adminClient(options.control, options));
      process.stdout.write(
        options.format === "json"
          ? `${JSON.stringify(toJson(GetStatusResponseSchema, status), undefined, 2)}\n`
          : formatStatus(status),
      );
    });
}

function parseList(text: string): readonly string[] {
  return text.split(",").map((each) => each.trim());
}

export function formatStatus(status: GetStatusResponse): string {
  const lines: string[] = [];
  const { revision } = status;
  if (revision === undefined) lines.push("no revision published yet");
  else {
    const signers = revision.signedBy.length === 0 ? "unsigned" : `signed by ${revision.signedBy.join(", ")}`;
    lines.push(
      `revision ${revision.number}  published ${time(revision.createdAt)}  ${signers}`,
      `  ${revision.digest}`,
    );
  }
  lines.push(...leadershipLines(status), ...keyLines(status), ...logLines(status));
  lines.push(...convergenceLines(status), ...restrictionLines(status));
  lines.push(...regionLines(status));
  lines.push(`nodes: ${status.nodes.length === 0 ? "none" : ""}`.trimEnd());
  const [shown, left] = nodesToShow(status);
  for (const node of shown) lines.push(...nodeLines(node));
  if (left > 0) lines.push(`  and ${left} more, connected, with nothing refused (--format json lists them)`);
  lines.push(`decision services: ${status.decisionServices.length === 0 ? "none" : ""}`.trimEnd());
  for (const service of status.decisionServices) {
    const reported = `reported ${time(service.lastReportAt)}${service.stale ? "  SILENT" : ""}`;
    lines.push(`  ${service.id}  revision ${service.activeRevision}  ${service.decisions} decisions  ${reported}`);
    if (service.lastError !== "") lines.push(`    refused: ${service.lastError}`);
  }
  if (status.frozenScopes.length > 0) {
    lines.push("frozen scopes (their last good objects stay in force):");
    for (const { scope, problems } of status.frozenScopes) {
      lines.push(`  ${scope}`, ...problems.map((problem) => `    ${problem.replaceAll("\n", "\n    ")}`));
    }
  }
  return `${printableLines(lines.join("\n"))}\n`;
}

function leadershipLines({ leadership }: GetStatusResponse): string[] {
  if (leadership === undefined) return [];
  const { leader, epoch, leading } = leadership;
  if (leader === "") return ["no control plane leads: nothing is published"];
  return [`${leader} leads under epoch ${epoch}${leading ? "" : "; this one stands by"}`];
}

/** Those that end soon; all are in the JSON. */
function keyLines({ keys }: GetStatusResponse): string[] {
  const now = Date.now();
  return keys.flatMap(({ id, notAfter, purposes, signsHere }) => {
    const end = notAfter === undefined ? now : timestampDate(notAfter).getTime();
    if (end - now > KEY_ENDS_SOON_MS) return [];
    const days = Math.floor((end - now) / 86_400_000);
    const state = end < now ? "has EXPIRED" : `ends in ${days} days`;
    const use = `${purposes.join(", ")}${signsHere ? "; signs here" : ""}`;
    return [`key ${id} ${state}: ${time(notAfter)}  (${use}): chancery keys rotate`];
  });
}

function logLines({ operationalLog: log }: GetStatusResponse): string[] {
  if (log === undefined || !isNearlyFull(log)) return [];
  const share = Math.floor((100 * log.entries) / log.capacity);
  const state = log.entries >= log.capacity ? "is FULL and takes revocations alone" : `is ${share} % full`;
  return [`the operational log ${state}: ${log.entries} of ${log.capacity} entries: chancery log compact`];
}

function convergenceLines({ convergence }: GetStatusResponse): string[] {
  const line = (what: string, latency: Latency | undefined): string[] => {
    if (latency === undefined) return [];
    const [p50, p99, max] = [latency.p50Ms, latency.p99Ms, latency.maxMs].map(Math.round);
    return [`${what}: p50 ${p50} ms  p99 ${p99} ms  max ${max} ms  (${latency.count} samples)`];
  };
  return [
    ...line("from save to acknowledgement", convergence?.saveToAcknowledged),
    ...line("from save to first decision", convergence?.saveToFirstDecision),
  ];
}

function restrictionLines({ restrictions }: GetStatusResponse): string[] {
  if (restrictions.length === 0) return [];
  return [
    "restrictions in force:",
    ...restrictions.flatMap(({ id, kind, value, until, by, reason, missingIn }) => [
      `  ${id}  ${kind} ${value}  until ${time(until)}  by ${by}: ${reason}`,
      ...(missingIn.length === 0 ? [] : [`    not known to be in force at ${missingIn.join(", ")}`]),
    ]),
  ];
}

function regionLines({ regions, xdsServers }: GetStatusResponse): string[] {
  const tail = (lastReportAt: Timestamp | undefined, stale: boolean, lastError: string): string[] => [
    `reported ${time(lastReportAt)}${stale ? "  SILENT" : ""}`,
    ...(lastError === "" ? [] : [`\n    refused: ${lastError}`]),
  ];
  return [
    ...(regions.length === 0 ? [] : ["regions:"]),
    ...regions.map(({ name, relayedRevision, lastReportAt, stale, lastError }) =>
      [`  ${name}  revision ${relayedRevision}  `, ...tail(lastReportAt, stale, lastError)].join(""),
    ),
    ...(xdsServers.length === 0 ? [] : ["xds servers:"]),
    ...xdsServers.map(({ id, activeRevision, nodes, lastReportAt, stale, lastError }) =>
      [`  ${id}  revision ${activeRevision}  ${nodes} nodes  `, ...tail(lastReportAt, stale, lastError)].join(""),
    ),
  ];
}

/** All that need attention, and others as long as they are few. */
function nodesToShow({ nodes, revision, xdsServers }: GetStatusResponse): readonly [readonly NodeStatus[], number] {
  const known = Math.max(
    nodes.length,
    xdsServers.reduce((sum, server) => sum + server.nodes, 0),
  );
  if (nodes.length <= MANY_NODES) return [nodes, known - nodes.length];
  const newest = revision?.number ?? 0n;
  const shown = nodes.filter(
    (node) =>
      !node.connected ||
      node.stale ||
      node.lastRejection?.standing ||
      node.heldBack.length > 0 ||
      node.acknowledgedRevision < newest,
  );
  return [shown, known - shown.length];
}

function nodeLines(node: NodeStatus): string[] {
  const link = node.connected ? "connected" : `gone since ${time(node.lastSeenAt)}`;
  const gateway = node.nodeGroup || `${node.cluster} (not known here)`;
  const via = node.xdsServer === "" ? "" : `  via ${node.xdsServer}${node.stale ? " (SILENT)" : ""}`;
  const lines = [
    `  ${node.id}  gateway ${gateway}  envoy ${node.envoyVersion || "?"}  plan ${node.plan}  ${link}${via}`,
    `    acknowledged revision ${node.acknowledgedRevision}  layout ${node.layout || "none"}`,
  ];
  const rejection = node.lastRejection;
  if (rejection !== undefined) {
    lines.push(
      `    rejected revision ${rejection.revision} at ${time(rejection.at)}: ${shortType(rejection.typeUrl)} ${rejection.resources.join(", ")}`,
      `      ${rejection.message.trim().replaceAll("\n", "\n      ")}`,
    );
  }
  for (const { typeUrl, name, revision, scope, since } of node.heldBack) {
    lines.push(
      `    held back (${scope}) since ${time(since)}: ${shortType(typeUrl)} ${name}, refused with revision ${revision}`,
    );
  }
  return lines;
}

function time(timestamp: Timestamp | undefined): string {
  return timestamp === undefined ? "never" : timestampDate(timestamp).toISOString();
}

/** "Cluster" of "type.googleapis.com/envoy.config.cluster.v3.Cluster". */
function shortType(typeUrl: string): string {
  return typeUrl.slice(typeUrl.lastIndexOf(".") + 1);
}
