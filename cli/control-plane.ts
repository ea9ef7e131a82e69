import { extname, join } from "node:path";
import {
  addKeyMetrics,
  addRestrictionMetrics,
  addStatusMetrics,
  type ControlStatus,
  createRegistry,
  startAdminServer,
} from "../admin/index.ts";
import { openDirectoryBus } from "../distribution/index.ts";
import { findEnvoy, type KeyPair, type Renewable } from "../envoy/index.ts";
import type { ChanceryError } from "../resources/index.ts";
import { openRevisionStore, type Revision } from "../revision/index.ts";
import { openQuarantineMemory } from "../xds-server/index.ts";
import { type Address, demandFree, formatAddress } from "./address.ts";
import { EnvoyChild, type EnvoyOptions } from "./envoy-child.ts";
import { type FeedOptions, feedSettings } from "./feed-options.ts";
import { Fleet } from "./fleet.ts";
import { keyFacts, keyReminders } from "./key-expiry.ts";
import type { Logger } from "./logging.ts";
import { LOOP_SLICING } from "./loop-slicing.ts";
import { approvalApi, logReminders, openOperationalLog } from "./operational-log.ts";
import type { PrincipalsFile } from "./principals-file.ts";
import { startReminders } from "./reminders.ts";
import { openRestrictions, restrictionApi } from "./restrictions.ts";
import type { ShutdownStack } from "./shutdown.ts";
import { openSigningKeys } from "./signing-keys.ts";
import { lockState } from "./state-lock.ts";
import { supervise } from "./supervise.ts";
import { publishTree, type TreePublisher } from "./tree-publisher.ts";
import { startXdsProcess } from "./xds-process.ts";

/** The command itself: a source file here, JavaScript in the package. */
const MAIN = join(import.meta.dirname, `main${extname(import.meta.filename)}`);

export interface ControlPlaneOptions {
  readonly resources: string;
  readonly state: string;
  readonly keys: string;
  readonly xds: string;
  /** One decision service each. */
  readonly authz: readonly string[];
  readonly control: Address;
  readonly controlTls: Renewable<KeyPair> | undefined;
  readonly token?: string | undefined;
  /** Who else may use the admin API. */
  readonly principals: PrincipalsFile | undefined;
  /** Endpoints beside the revision. */
  readonly feed: FeedOptions;
  readonly envoy?: EnvoyOptions | undefined;
  /** Passed on to the decision services. */
  readonly logLevel: string;
  readonly logFormat?: string | undefined;
}

export interface ControlPlane {
  /** URL of the admin API, as bound. */
  readonly control: string;
  /** What still keeps it from being ready; none: requests are decided. */
  notReady(): readonly string[];
  /** URLs that the Envoy listens on; empty before the first revision, and without an Envoy. */
  gateways(): readonly string[];
  /** Fulfilled when it cannot go on. */
  readonly failed: Promise<Error>;
}

/**
 * Everything on one machine: publisher, xDS and admin API in this process, decision services and Envoy as children that
 * are started again whenever they end. What is started goes onto `stack`.
 *
 * @param onProgress  called with one line for people each time that a revision has come further
 */
export async function startControlPlane(
  options: ControlPlaneOptions,
  stack: ShutdownStack,
  log: Logger,
  onProgress: (line: string) => void,
): Promise<ControlPlane> {
  const { state, principals } = options;
  // What is missing or taken is told before anything is started.
  const program = options.envoy === undefined ? undefined : await findEnvoy(process.env);
  const lock = await lockState(state);
  stack.add({ name: "state", close: () => lock.close() });
  const failed = Promise.withResolvers<Error>();
  const envoy =
    options.envoy === undefined || program === undefined
      ? undefined
      : new EnvoyChild({
          ...options.envoy,
          program,
          directory: join(state, "envoy"),
          xds: options.xds,
          authz: options.authz,
          log,
          onFailure: failed.resolve,
        });
  await envoy?.endLeftover();
  await demandFreePorts(options);

  const { signers, trust, trustFile } = await openSigningKeys(options.keys, log);
  const onAlarm = (alarm: ChanceryError): void => log.warn({ code: alarm.code }, alarm.message);
  const busDirectory = join(state, "bus");
  const bus = await openDirectoryBus(busDirectory, { onAlarm });
  stack.add({ name: "bus", close: () => bus.close() });
  const signedBy = signers.map(({ keyId }) => keyId);
  const fleet = new Fleet({
    signedBy,
    startedAt: Date.now(),
    services: options.authz.length,
    now: Date.now,
    onProgress,
  });
  const reports = bus.watchReports((report) => fleet.onReport(report));
  stack.add({ name: "reports", close: () => reports.close() });

  for (const [index, listen] of options.authz.entries()) {
    const name = `authz-${index + 1}`;
    const child = supervise({
      name,
      file: process.execPath,
      args: [
        ...[MAIN, "authz", "--bus", busDirectory, "--trust", trustFile, "--listen", listen, "--name", name],
        ...["--state", join(state, name), "--journal", join(state, "journal", name)],
        ...["--log-level", options.logLevel],
        ...(options.logFormat === undefined ? [] : ["--log-format", options.logFormat]),
      ],
      log,
      channel: true,
    });
    stack.add({ name, close: () => child.close() });
  }

  const restrictions = await openRestrictions({ buses: [bus], state, trust, signers, spreads: true, log });
  stack.add({ name: "restrictions", close: () => restrictions.close() });
  let publisher: TreePublisher | undefined;
  let logChanged = false;
  const operationalLog = await openOperationalLog({
    ...{ bus: bus.log, state, trust, signers, log },
    onChange: () => {
      logChanged = true;
      void publisher?.refresh();
    },
  });
  stack.add({ name: "operational log", close: () => operationalLog.close() });
  const publishing = await publishTree({
    resources: options.resources,
    stateDirectory: join(state, "publisher"),
    bus,
    signers,
    trust: trust.text,
    log,
    operationalLog: () => operationalLog.replay(),
    onEvent: (event) => fleet.onPublisher(event),
  });
  publisher = publishing;
  // It may have come after the first revision was begun.
  if (logChanged) void publishing.refresh();
  stack.add({ name: "publisher", close: () => publishing.close() });

  const store = await openRevisionStore(join(state, "xds", "revisions"), {
    trust,
    now: Date.now,
    slicing: LOOP_SLICING,
    onAlarm,
  });
  stack.add({ name: "revisions", close: () => store.close() });
  const metrics = createRegistry();
  let listening = false;
  const xds = await startXdsProcess({
    source: { bus, store, shared: true },
    name: "xds",
    listen: options.xds,
    secretsRoot: options.resources,
    log,
    metrics,
    quarantineMemory: await openQuarantineMemory(join(state, "held-back"), log),
    feed: await feedSettings(options.feed, state, log),
    onEvent: (event) => fleet.onXds(event),
    onRevision: (revision) => {
      if (listening) envoy?.onRevision(revision);
    },
  });
  stack.add({ name: "xds", close: () => xds.close() });

  if (envoy !== undefined) stack.add({ name: "envoy", close: () => envoy.close() });

  const status = (): ControlStatus => {
    const served = xds.revision();
    const parts = {
      ...{ publisher: publishing.status(), nodes: xds.nodes(), restrictions: restrictions.states() },
      ...{ operationalLog: operationalLog.size(), keys: keyFacts(trust, signers) },
    };
    return fleet.status(served === undefined ? parts : { ...parts, served: revisionFacts(served) });
  };
  const notReady = (): string[] => {
    const { number, refused } = publishing.status();
    if (number === 0) return [refused.length > 0 ? "the resource tree has errors" : "no revision is published yet"];
    const reasons: string[] = [];
    if ((xds.revision()?.number ?? 0) < number) reasons.push(`revision ${number} is not served yet`);
    const deciding = fleet.deciding(number).length;
    if (deciding < options.authz.length)
      reasons.push(`${deciding} of ${options.authz.length} decision services decide`);
    if (envoy?.isServing(xds.nodes()) === false) reasons.push("Envoy has no configuration yet");
    return reasons;
  };
  const reminders = startReminders({
    check: () => [...keyReminders(trust, signers, Date.now()), ...logReminders(operationalLog.size())],
    log,
    now: Date.now,
  });
  stack.add({ name: "reminders", close: () => reminders.close() });
  addKeyMetrics(metrics, trust, Date.now);
  addStatusMetrics(metrics, status);
  addRestrictionMetrics(metrics, restrictions);
  const admin = await startAdminServer({
    ...options.control,
    ...(options.controlTls === undefined ? {} : { tls: options.controlTls }),
    notReady,
    metrics,
    status,
    pages: xds.pages,
    ...(xds.feed === undefined ? {} : { endpoints: xds.feed }),
    restrictions: restrictionApi(restrictions, trust, signers, () => xds.revision()?.program),
    approvals: approvalApi(operationalLog, () => publishing.inventory()),
    log: { log: operationalLog, now: Date.now },
    ...(principals === undefined ? {} : { principals: () => principals.current() }),
    onDefect: (err) => log.error({ err }, "a call of the admin API failed"),
    ...(options.token === undefined ? {} : { token: options.token }),
  });
  stack.add({ name: "admin", close: () => admin.close() });
  const served = xds.revision();
  if (served !== undefined) envoy?.onRevision(served);
  listening = true;
  return { control: admin.url, notReady, gateways: () => envoy?.listeners() ?? [], failed: failed.promise };
}

function revisionFacts(revision: Revision): NonNullable<ControlStatus["revision"]> {
  const { number, digest, createdAt, signedBy } = revision;
  return { number, digest, createdAt: Date.parse(createdAt), signedBy };
}

/** A port that is taken is told before anything is started, with the option that chooses another. */
async function demandFreePorts(options: ControlPlaneOptions): Promise<void> {
  await demandFree(options.xds, "--xds");
  for (const address of options.authz) await demandFree(address, "--authz");
  await demandFree(formatAddress(options.control), "--control");
  if (options.envoy !== undefined) await demandFree(formatAddress(options.envoy.admin), "--envoy-admin");
}
