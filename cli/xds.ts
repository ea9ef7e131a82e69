import { join } from "node:path";
import { Command } from "commander";
import { createRegistry, startAdminServer } from "../admin/index.ts";
import { isLoopback } from "../envoy/index.ts";
import { openQuarantineMemory } from "../xds-server/index.ts";
import { DEFAULT_ADDRESSES } from "./address.ts";
import { openAdminCertificate } from "./admin-tls.ts";
import { addTlsOptions, openCertificateFiles, type TlsOptions } from "./certificate-files.ts";
import { addFeedOptions, type FeedOptions, feedSettings } from "./feed-options.ts";
import { addNatsOptions } from "./nats-options.ts";
import { addressListOption } from "./options.ts";
import {
  type AdminOptions,
  addAdminOption,
  addProcessOptions,
  loggerOf,
  type ProcessOptions,
} from "./process-options.ts";
import { demandOneSource, openRevisionSource, type SourceOptions } from "./revision-source.ts";
import { runUntilStopped, ShutdownStack } from "./shutdown.ts";
import { readToken } from "./token.ts";
import { addPushOptions, type PushOptions, pushSettings } from "./xds-options.ts";
import { startXdsProcess, type XdsProcess } from "./xds-process.ts";

interface XdsOptions extends SourceOptions, ProcessOptions, AdminOptions, TlsOptions, PushOptions, FeedOptions {
  readonly listen: readonly [string];
  readonly name: string;
  readonly state: string;
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
  const command = new Command("xds")
    .option("--resources <dir>", "root of a resource tree")
    .option("--bus <dir>", "directory of a bus that a control plane publishes to")
    .option("--trust <file>", "trust file that revisions from the bus must satisfy")
    .option("--secrets <dir>", "directory that secret files are relative to (default: the resource tree)")
    .option("--listen <addr>", "where Envoys connect: HOST:PORT or unix:/path", addressListOption, [
      DEFAULT_ADDRESSES.xds,
    ])
    .option(
      "--token-file <file>",
      "bearer token of /xds/… and of EndpointService at --admin; without one on loopback only",
    )
    .option("--name <name>", "name of this process in reports", "xds")
    .option("--state <dir>", "where revisions are kept over restarts", join(".chancery", "xds"));
  return addProcessOptions(addPushOptions(addFeedOptions(addTlsOptions(addAdminOption(addNatsOptions(command))))))
    .addHelpText("after", HELP)
    .action(async (options: XdsOptions) => {
      demandOneSource(options);
      const log = loggerOf(options, options.name);
      const stack = new ShutdownStack(log, options.stopSeconds * 1_000);
      try {
        const adminTls = await openAdminCertificate(options, options.admin, log);
        if (adminTls !== undefined) stack.add({ name: "admin certificate", close: () => adminTls.close() });
        const tls = await openCertificateFiles(options, log);
        if (tls !== undefined) stack.add({ name: "certificates", close: () => tls.close() });
        const metrics = createRegistry();
        const source = await openRevisionSource(options, options.state, { role: "xds", name: options.name }, log);
        stack.add({ name: "revisions", close: () => source.close() });
        const xds = await startXdsProcess({
          source,
          name: options.name,
          listen: options.listen[0],
          secretsRoot: options.secrets ?? options.resources ?? ".",
          log,
          metrics,
          settings: pushSettings(options),
          tls,
          quarantineMemory: await openQuarantineMemory(join(options.state, "held-back"), log),
          feed: await feedSettings(options, options.state, log),
        });
        stack.add({ name: "xds", close: () => xds.close() });
        if (options.admin !== undefined) {
          const notReady = (): string[] => (xds.revision() === undefined ? ["no revision yet"] : []);
          const token = options.tokenFile === undefined ? undefined : await readToken(options.tokenFile);
          const admin = await startAdminServer({
            ...options.admin,
            ...(adminTls === undefined ? {} : { tls: adminTls }),
            notReady,
            metrics,
            // Names of resources and what nodes said of them are not for everybody.
            ...(token !== undefined || isLoopback(options.admin.host) ? { pages: xds.pages, ...endpointsOf(xds) } : {}),
            ...(token === undefined ? {} : { token }),
          });
          stack.add({ name: "admin", close: () => admin.close() });
        }
        void xds.serving.then(() => process.stdout.write(`ready  xds ${options.listen[0]}\n`));
        await runUntilStopped(log, stack);
      } finally {
        await stack.close();
      }
    });
}
