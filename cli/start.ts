import { stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Command } from "commander";
import { ChanceryError, printable } from "../resources/index.ts";
import { type Address, DEFAULT_ADDRESSES, formatAddress, isLocal, parseAddress } from "./address.ts";
import { type AdminTlsOptions, addAdminTlsOptions, openAdminCertificate } from "./admin-tls.ts";
import { type ControlPlane, startControlPlane } from "./control-plane.ts";
import { demandProtectedAdmin } from "./envoy-admin.ts";
import { addFeedOptions, type FeedOptions } from "./feed-options.ts";
import type { Logger } from "./logging.ts";
import { addressListOption, addressOption, parseCount } from "./options.ts";
import { openPrincipalsFile } from "./principals-file.ts";
import { addProcessOptions, loggerOf, type ProcessOptions } from "./process-options.ts";
import { runUntilStopped, ShutdownStack } from "./shutdown.ts";
import { readToken } from "./token.ts";

interface StartOptions extends ProcessOptions, FeedOptions, AdminTlsOptions {
  readonly resources: string;
  readonly state: string;
  readonly keys?: string;
  readonly xds: readonly [string];
  readonly authz: readonly string[];
  readonly control: Address;
  readonly tokenFile?: string;
  readonly principals?: string;
  readonly envoy?: boolean;
  readonly gateway?: string;
  readonly nodeId: string;
  readonly envoyAdmin: Address;
  readonly unprotectedEnvoyAdmin?: boolean;
  readonly envoyConcurrency?: number;
}

const HELP = `
Publishes the resource tree, now and after each edit; serves it to Envoys; decides their requests in one process for
each address of --authz, and keeps those running. Prints "ready", then how far each revision has come. Signing keys are
made at the first start.

Examples:
  chancery start --resources examples/quickstart/resources --envoy
  chancery start --resources examples/quickstart/resources --endpoints /run/endpoints
  chancery start --resources . --state /var/lib/chancery --keys /etc/chancery/keys
`;

const READY_POLL_MS = 25;
const READY_COMPLAINT_MS = 15_000;

/** `chancery start` */
export function startCommand(): Command {
  const command = new Command("start")
    .requiredOption("--resources <dir>", "root of the resource tree")
    .option("--state <dir>", "for everything that outlives a restart, decision journals included", ".chancery")
    .option("--keys <dir>", "keys that sign revisions (default: keys in the state directory)")
    .option("--xds <addr>", "where Envoys get their configuration", addressListOption, [DEFAULT_ADDRESSES.xds])
    .option("--authz <addr,…>", "where Envoys ask for decisions: one process each", addressListOption, [
      ...DEFAULT_ADDRESSES.authz,
    ])
    .option("--control <addr>", "admin API, health and metrics", addressOption, parseAddress(DEFAULT_ADDRESSES.control))
    .option("--token-file <file>", "bearer token of the admin API; demanded off loopback")
    .option(
      "--principals <file>",
      "who else may use the admin API: [{name, roles: [requester, approver], tokenSha256}]",
    )
    .option("--envoy", "run an Envoy too")
    .option("--gateway <key>", "the Gateway that it serves (default: the only one)")
    .option("--node-id <id>", "its name", "envoy-1")
    .option("--envoy-admin <addr>", "its admin interface", addressOption, parseAddress(DEFAULT_ADDRESSES.envoyAdmin))
    .option(
      "--unprotected-envoy-admin",
      "let --envoy-admin be off loopback, where whoever reaches it can read, change and stop this Envoy",
    )
    .option("--envoy-concurrency <n>", "its worker threads (default: one for each core)", parseCount);
  return addProcessOptions(addFeedOptions(addAdminTlsOptions(command)))
    .addHelpText("after", HELP)
    .action(start);
}

async function start(options: StartOptions): Promise<void> {
  const [xds] = options.xds;
  for (const address of [xds, ...options.authz]) demandLocal(address);
  const { envoyAdmin, unprotectedEnvoyAdmin } = options;
  demandProtectedAdmin(envoyAdmin, "--envoy-admin", unprotectedEnvoyAdmin, "--unprotected-envoy-admin");
  await demandDirectory(options.resources);
  const token = options.tokenFile === undefined ? undefined : await readToken(options.tokenFile);
  const log = loggerOf(options, "control");
  const controlTls = await openAdminCertificate(options, options.control, log);
  const principals = await openPrincipalsFile(options.principals, log);
  const stack = new ShutdownStack(log, options.stopSeconds * 1_000);
  if (principals !== undefined) stack.add({ name: "principals", close: () => principals.close() });
  if (controlTls !== undefined) stack.add({ name: "admin certificate", close: () => controlTls.close() });
  // From here on a signal stops whatever has been started by then.
  const failed = Promise.withResolvers<Error>();
  const running = runUntilStopped(log, stack, failed.promise);
  try {
    const { envoy, gateway, nodeId, envoyAdmin: admin, envoyConcurrency: concurrency } = options;
    const settings = {
      resources: options.resources,
      state: options.state,
      keys: options.keys ?? join(options.state, "keys"),
      xds,
      authz: options.authz,
      control: options.control,
      controlTls,
      token,
      principals,
      feed: options,
      envoy: envoy === true ? { gateway, nodeId, admin, concurrency } : undefined,
      logLevel: options.logLevel,
      logFormat: options.logFormat,
    };
    const progress = (line: string): void => void process.stdout.write(`${printable(line)}\n`);
    const plane = await startControlPlane(settings, stack, log, progress);
    void plane.failed.then(failed.resolve);
    await untilReady(plane, stack, log);
    if (!stack.stopping) process.stdout.write(`${readyLine(plane, options)}\n`);
  } catch (error) {
    // What fails because it is being stopped is no failure.
    if (!stack.stopping) failed.resolve(ChanceryError.from(error));
  }
  const failure = await running;
  if (failure !== undefined) throw failure;
}

/** One that is not there would be waited for without end, and is most likely mistyped. */
async function demandDirectory(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory() === true) return;
  throw new ChanceryError("not-found", `there is no directory ${path}: name the directory that holds the resources`);
}

/** Other machines are served by `chancery authz` and `chancery xds`, which take certificates. */
function demandLocal(address: string): void {
  if (address.startsWith("unix:") || isLocal(parseAddress(address))) return;
  throw new ChanceryError(
    "invalid-argument",
    `start serves this machine alone and does not listen on ${address}: choose a loopback address or a Unix socket, or run "chancery xds" and "chancery authz" with certificates`,
  );
}

async function untilReady(plane: ControlPlane, stack: ShutdownStack, log: Logger): Promise<void> {
  let complainAt = performance.now() + READY_COMPLAINT_MS;
  for (let reasons = plane.notReady(); reasons.length > 0 && !stack.stopping; reasons = plane.notReady()) {
    if (performance.now() >= complainAt) {
      complainAt += READY_COMPLAINT_MS;
      log.warn({ reasons }, "not ready yet");
    }
    await delay(READY_POLL_MS);
  }
}

function readyLine(plane: ControlPlane, options: StartOptions): string {
  const parts = [
    ...plane.gateways().map((url) => `gateway ${url}`),
    ...(options.envoy === true ? [`envoy-admin http://${formatAddress(options.envoyAdmin)}`] : []),
    `control ${plane.control}`,
    `xds ${options.xds.join(",")}`,
    `authz ${options.authz.join(",")}`,
  ];
  return `ready  ${parts.join("  ")}`;
}
