import { toJson } from "@bufbuild/protobuf";
import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { Command, Option } from "commander";
import { type GetStatusResponse, GetStatusResponseSchema, getStatus } from "../admin/index.ts";
import { DEFAULT_ADDRESSES } from "./address.ts";
import { readToken } from "./token.ts";

interface StatusOptions {
  readonly control: string;
  readonly tokenFile?: string;
  readonly format: "text" | "json";
}

const HELP = `
Shows the revision in force, what each Envoy and each decision service runs, the last rejection (NACK) of each Envoy,
and the scopes whose newest edit was refused.

Examples:
  chancery status
  chancery status --control 127.0.0.1:7070 --format json
`;

/** `chancery status` */
export function statusCommand(): Command {
  return new Command("status")
    .option("--control <addr>", "admin API of the control plane", DEFAULT_ADDRESSES.control)
    .option("--token-file <file>", "file with the bearer token of the admin API")
    .addOption(new Option("--format <format>", "how to print it").choices(["text", "json"]).default("text"))
    .addHelpText("after", HELP)
    .action(async (options: StatusOptions) => {
      const token = options.tokenFile === undefined ? undefined : await readToken(options.tokenFile);
      const status = await getStatus({ control: options.control, ...(token === undefined ? {} : { token }) });
      process.stdout.write(
        options.format === "json"
          ? `${JSON.stringify(toJson(GetStatusResponseSchema, status), undefined, 2)}\n`
          : formatStatus(status),
      );
    });
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
  lines.push(`nodes: ${status.nodes.length === 0 ? "none" : ""}`.trimEnd());
  for (const node of status.nodes) {
    const link = node.connected ? "connected" : `gone since ${time(node.lastSeenAt)}`;
    lines.push(
      `  ${node.id}  gateway ${node.nodeGroup || `${node.cluster} (not known here)`}  envoy ${node.envoyVersion || "?"}  plan ${node.plan}  ${link}`,
      `    acknowledged revision ${node.acknowledgedRevision}  layout ${node.layout || "none"}`,
    );
    const rejection = node.lastRejection;
    if (rejection !== undefined) {
      lines.push(
        `    rejected revision ${rejection.revision} at ${time(rejection.at)}: ${shortType(rejection.typeUrl)} ${rejection.resources.join(", ")}`,
        `      ${rejection.message.trim().replaceAll("\n", "\n      ")}`,
      );
    }
  }
  lines.push(`decision services: ${status.decisionServices.length === 0 ? "none" : ""}`.trimEnd());
  for (const service of status.decisionServices) {
    lines.push(
      `  ${service.id}  revision ${service.activeRevision}  ${service.decisions} decisions  reported ${time(service.lastReportAt)}`,
    );
    if (service.lastError !== "") lines.push(`    refused: ${service.lastError}`);
  }
  if (status.frozenScopes.length > 0) {
    lines.push("frozen scopes (their last good objects stay in force):");
    for (const { scope, problems } of status.frozenScopes) {
      lines.push(`  ${scope}`, ...problems.map((problem) => `    ${problem.replaceAll("\n", "\n    ")}`));
    }
  }
  return `${lines.join("\n")}\n`;
}

function time(timestamp: Timestamp | undefined): string {
  return timestamp === undefined ? "never" : timestampDate(timestamp).toISOString();
}

/** "Cluster" of "type.googleapis.com/envoy.config.cluster.v3.Cluster". */
function shortType(typeUrl: string): string {
  return typeUrl.slice(typeUrl.lastIndexOf(".") + 1);
}
