import { join } from "node:path";
import { Command } from "commander";
import { startAdminServer } from "../admin/index.ts";
import { isLoopback } from "../envoy/index.ts";
import { openQuarantineMemory } from "../xds-server/index.ts";
import { DEFAULT_ADDRESSES } from "./address.ts";
import { addTlsOptions } from "./certificate-files.ts";
import { addDataPathOptions, type DataPath, type DataPathOptions, runDataPath } from "./data-path.ts";
import { addFeedOptions, type FeedOptions, feedSettings } from "./feed-options.ts";
import { addNatsOptions } from "./nats-options.ts";
import { addAdminOption, addProcessOptions } from "./process-options.ts";
import { readToken } from "./token.ts";
import { addPushOptions, type PushOptions, pushSettings } from "./xds-options.ts";
import { startXdsProcess, type XdsProcess } from "./xds-process.ts";

interface XdsOptions extends DataPathOptions, PushOptions, FeedOptions {
  readonly secrets?: string;
  readonly tokenFile?: string;
}

const HELP = `
Straight from a directory, revisions are unsigned and stay in this process. From a bus only revisions are served that
the trust file covers, and routes are pushed after the decision services on the bus know them.

Examples:
  chancery xds --resources examples/quickstart/resources --listen 127.0.0.1:18000
  chancery xds --bus .chancery/bus --trust .chancery/keys/trust.json --secrets resources
  chancery xds --bus .chancery/bus --trust .chancery/keys/trust.json --secrets resources --canary edge-1
  chancery xds --resources resources --endpoints /run/endpoints --admin 127.0.0.1:9901
  chancery xds --resources resources --dns-servers 10.0.0.2,10.0.0.3:5353 --dns-max-ttl 30
  chancery xds --nats nats://127.0.0.1:4222 --nats-creds xds.nk --trust trust.json --secrets resources
`;

function endpointsOf({ feed }: XdsProcess) {
  return feed === undefined ? {} : { endpoints: feed };
}

/** `chancery xds` */
export function xdsCommand(): Command {
  const words = {
    listen: "where Envoys connect",
    name: "name of this process in reports",
    address: DEFAULT_ADDRESSES.xds,
  };
  const command = addDataPathOptions(new Command("xds"), "xds", words)
    .option("--secrets <dir>", "directory that secret files are relative to (default: the resource tree)")
    .option(
      "--token-file <file>",
      "bearer token of /xds/… and of EndpointService at --admin; without one on loopback only",
    );
  return addProcessOptions(addPushOptions(addFeedOptions(addTlsOptions(addAdminOption(addNatsOptions(command))))))
    .addHelpText("after", HELP)
    .action((options: XdsOptions) => runDataPath(options, "xds", (opened) => startXds(options, opened)));
}

async function startXds(options: XdsOptions, opened: DataPath): Promise<void> {
  const { log, metrics, source, tls, stack } = opened;
  const { name, state, tokenFile } = options;
  const xds = await startXdsProcess({
    source,
    name,
    listen: options.listen[0],
    secretsRoot: options.secrets ?? options.resources ?? ".",
    log,
    metrics,
    settings: pushSettings(options),
    tls,
    quarantineMemory: await openQuarantineMemory(join(state, "held-back"), log),
    feed: await feedSettings(options, state, log),
  });
  stack.add({ name: "xds", close: () => xds.close() });
  if (opened.admin !== undefined) {
    const token = tokenFile === undefined ? undefined : await readToken(tokenFile);
    const admin = await startAdminServer({
      ...opened.admin,
      notReady: () => (xds.revision() === undefined ? ["no revision yet"] : []),
      metrics,
      // Names of resources and what nodes said of them are not for everybody.
      ...(token !== undefined || isLoopback(opened.admin.host) ? { pages: xds.pages, ...endpointsOf(xds) } : {}),
      ...(token === undefined ? {} : { token }),
    });
    stack.add({ name: "admin", close: () => admin.close() });
  }
  void xds.serving.then(() => process.stdout.write(`ready  xds ${options.listen[0]}\n`));
}
