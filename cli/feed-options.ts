import { join } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { DEFAULT_DNS_SETTINGS, openEndpointMemory } from "../xds-server/index.ts";
import type { Logger } from "./logging.ts";
import { parseCount } from "./options.ts";
import type { FeedSettings } from "./xds-process.ts";

/** Endpoints beside the revision. */
export interface FeedOptions {
  readonly endpoints?: string;
  readonly endpointUpdates: number;
  readonly dnsServers?: readonly string[];
  readonly dnsMinTtl: number;
  readonly dnsMaxTtl: number;
}

const { minMs, maxMs } = DEFAULT_DNS_SETTINGS;

export function addFeedOptions(command: Command): Command {
  return command
    .option("--endpoints <dir>", "directory of files that say what endpoints upstreams with ranges have now")
    .option("--endpoint-updates <n>", "updates of endpoints a second that each source may make", parseCount, 20)
    .option(
      "--dns-servers <addr,…>",
      "who is asked for the names of upstreams (default: as this machine)",
      parseServers,
    )
    .option("--dns-min-ttl <s>", "seconds for which an answer counts at least", parseCount, minMs / 1_000)
    .option("--dns-max-ttl <s>", "seconds for which an answer counts at most", parseCount, maxMs / 1_000);
}

/** @param state  what was fed is kept in its folder "endpoints" */
export async function feedSettings(options: FeedOptions, state: string, log: Logger): Promise<FeedSettings> {
  const { endpoints: directory, endpointUpdates, dnsServers = [], dnsMinTtl, dnsMaxTtl } = options;
  return {
    directory,
    memory: await openEndpointMemory(join(state, "endpoints"), log),
    updatesPerSecond: endpointUpdates,
    dns: { servers: dnsServers, minMs: dnsMinTtl * 1_000, maxMs: Math.max(dnsMinTtl, dnsMaxTtl) * 1_000 },
  };
}

function parseServers(text: string): readonly string[] {
  const servers = text.split(",").map((server) => server.trim());
  if (servers.every((server) => server !== "")) return servers;
  throw new InvalidArgumentError("It must be addresses, separated by commas.");
}
