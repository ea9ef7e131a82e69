import { type Command, InvalidArgumentError, Option } from "commander";
import type { XdsSettings } from "../xds-server/index.ts";
import { parseCount } from "./options.ts";

/** How changes reach Envoys. What is left out is as DEFAULT_XDS_SETTINGS has it. */
export interface PushOptions {
  readonly canary?: readonly string[];
  readonly canaryWaitMs?: number;
  readonly holdBack: "node" | "build";
  readonly groupShare?: number;
  readonly quietMs?: number;
  readonly maxWaitMs?: number;
  readonly loadReportMs?: number;
  readonly responseBytes?: number;
}

export function addPushOptions(command: Command): Command {
  return command
    .option("--canary <id,…>", "nodes that are given new content first, and whose refusal is their group's", parseIds)
    .option("--canary-wait-ms <n>", "how long the others wait for them at most (default: 5000)", parseCount)
    .addOption(
      new Option("--hold-back <from>", "hold what a node refused back from it alone, or from its Envoy build")
        .choices(["node", "build"])
        .default("build"),
    )
    .option(
      "--group-share <n>",
      "share of a group (0 to 1) whose refusals hold back from all (default: 0.5)",
      parseShare,
    )
    .option("--quiet-ms <n>", "quiet time that ends a burst of changes (default: 10)", parseCount)
    .option("--max-wait-ms <n>", "how long a burst is held at most (default: 100)", parseCount)
    .option("--response-bytes <n>", "size from which a delta response is sent in parts (default: 2097152)", parseCount)
    .option("--load-report-ms <n>", "how often Envoys report load, where they do (default: 10000)", parseCount);
}

export function pushSettings(options: PushOptions): Partial<XdsSettings> {
  const { canary, canaryWaitMs, groupShare, quietMs, maxWaitMs, loadReportMs, responseBytes } = options;
  return {
    holdBackFromBuild: options.holdBack === "build",
    ...(canary === undefined ? {} : { canaries: canary }),
    ...(canaryWaitMs === undefined ? {} : { canaryWaitMs }),
    ...(groupShare === undefined ? {} : { groupShare }),
    ...(quietMs === undefined ? {} : { quietMs }),
    ...(maxWaitMs === undefined ? {} : { maxMs: maxWaitMs }),
    ...(responseBytes === undefined ? {} : { maxResponseBytes: responseBytes }),
    ...(loadReportMs === undefined ? {} : { loadReportMs }),
  };
}

function parseIds(text: string): readonly string[] {
  return text
    .split(",")
    .map((id) => id.trim())
    .filter((id) => id !== "");
}

function parseShare(text: string): number {
  const share = Number(text);
  if (share > 0 && share <= 1) return share;
  throw new InvalidArgumentError("a share is more than 0 and at most 1");
}
