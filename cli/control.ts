import { join } from "node:path";
import { Command } from "commander";
import {
  addKeyMetrics,
  addRestrictionMetrics,
  addStatusMetrics,
  createRegistry,
  startAdminServer,
} from "../admin/index.ts";
import { isCovered, keepFilled, type Publisher } from "../distribution/index.ts";
import { ChanceryError, printable } from "../resources/index.ts";
import { loadSigningKey, loadTrust } from "../revision/index.ts";
import { type Address, DEFAULT_ADDRESSES, parseAddress } from "./address.ts";
import { type AdminTlsOptions, addAdminTlsOptions, openAdminCertificate } from "./admin-tls.ts";
import { Fleet } from "./fleet.ts";
import { keyFacts, keyReminders } from "./key-expiry.ts";
import { holderOf, startLead } from "./lead.ts";
import { addNatsOptions, type NatsOptions, openNats } from "./nats-options.ts";
import { approvalApi, logReminders, openOperationalLog } from "./operational-log.ts";
import { addressOption, collect, parseCount, parseSeconds } from "./options.ts";
import { openPrincipalsFile } from "./principals-file.ts";
import { addProcessOptions, loggerOf, type ProcessOptions } from "./process-options.ts";
import { startReminders } from "./reminders.ts";
import { openRestrictions, restrictionApi } from "./restrictions.ts";
import { watchRevisions } from "./revision-watch.ts";
import { runUntilStopped, ShutdownStack } from "./shutdown.ts";
import { lockState } from "./state-lock.ts";
import { readToken } from "./token.ts";
import { publishTree } from "./tree-publisher.ts";

interface ControlOptions extends NatsOptions, ProcessOptions, AdminTlsOptions {
  readonly resources: string;
  readonly key: readonly string[];
  readonly trust?: string;
  readonly name: string;
  readonly state: string;
  readonly control: Address;
  readonly tokenFile?: string;
  readonly principals?: string;
  readonly services: number;
  readonly natsMonitor?: string;
  readonly natsReplicas?: number;
  readonly leaseSeconds: number;
  readonly forceSource: boolean;
}

const HELP = `
Publishes the resource tree, now and after each edit, for "chancery relay", "chancery xds" and "chancery authz" to take
up. Prints "ready" when its first revision is on the bus, then how far each revision has come. Streams that NATS does not
have (any more) are made, and filled again from the tree.

Several may run, each with a state directory and a name of its own, over the same tree: one leads and publishes, the others
compile the tree and stand by. When the leader stops, another takes over at once; when it is gone, after --lease-seconds.
"chancery status" says who leads, whichever is asked.

In a git checkout, revisions name its commit. A tree whose commit does not come after that of the revision in force (an old
or a wrong checkout) is not published, unless --force-source says so.

Examples:
  chancery keys init keys
  chancery control --resources . --nats nats://127.0.0.1:4222 --nats-creds control.nk --key keys/signing-1.pem \\
    --trust keys/trust.json
  chancery control --resources . --nats nats://127.0.0.1:4222 --nats-creds control.nk --key keys/signing-1.pem \\
    --control 0.0.0.0:7070 --token-file token --admin-tls-certificate tls.crt --admin-tls-key tls.key
`;

/** `chancery control` */
export function controlCommand(): Command {
  const command = new Command("control")
    .requiredOption("--resources <dir>", "root of the resource tree")
    .requiredOption("--key <file>", "signing key; again for each key that the trust file asks for", collect, [])
    .option(
      "--trust <file>",
      "trust file of the fleet: travels with revisions; restrictions and approvals are taken with it",
    )
    .option("--name <name>", "name of this process", "control")
    .option("--state <dir>", "for what must be known after a restart", join(".chancery", "control"))
    .option("--control <addr>", "admin API, health and metrics", addressOption, parseAddress(DEFAULT_ADDRESSES.control))
    .option("--token-file <file>", "bearer token of the admin API; demanded off loopback")
    .option(
      "--principals <file>",
      "who else may use the admin API: [{name, roles: [requester, approver], tokenSha256}]",
    )
    .option(
      "--force-source",
      "publish this tree though its commit does not follow that of the revision in force",
      false,
    )
    .option("--services <n>", "decision services that must have reported before a revision is in force", parseCount, 1)
    .option("--nats-monitor <url>", "monitoring of NATS, to ask how soon it writes to disk")
    .option("--nats-replicas <n>", "copies of each stream in a NATS cluster", parseCount)
    .option("--lease-seconds <n>", "after which time without a sign of the leader another one leads", parseSeconds, 3);
  return addProcessOptions(addAdminTlsOptions(addNatsOptions(command)))
    .addHelpText("after", HELP)
    .action(control);
}

async function control(options: ControlOptions): Promise<void> {
  const { name, state, natsMonitor, natsReplicas } = options;
  if (options.nats === undefined) throw missing("--nats URL");
  if (options.key.length === 0) throw missing("--key FILE");
  const token = options.tokenFile === undefined ? undefined : await readToken(options.tokenFile);
  const trust = options.trust === undefined ? undefined : await loadTrust(options.trust);
  const signers = await Promise.all(options.key.map((file) => loadSigningKey(file)));
  const log = loggerOf(options, name);
  const stack = new ShutdownStack(log, options.stopSeconds * 1_000);
  try {
    const principals = await openPrincipalsFile(options.principals, log);
    if (principals !== undefined) stack.add({ name: "principals", close: () => principals.close() });
    const adminTls = await openAdminCertificate(options, options.control, log);
    if (adminTls !== undefined) stack.add({ name: "admin certificate", close: () => adminTls.close() });
    const lock = await lockState(state);
    stack.add({ name: "state", close: () => lock.close() });
    const onAlarm = (alarm: ChanceryError): void => log.warn({ code: alarm.code }, alarm.message);
    const bus = await openNats(
      options,
      { role: "control", name },
      {
        manageStreams: true,
        lease: true,
        log: trust !== undefined,
        onAlarm,
        ...(natsMonitor === undefined ? {} : { monitor: natsMonitor }),
        ...(natsReplicas === undefined ? {} : { replicas: natsReplicas }),
      },
    );
    stack.add({ name: "bus", close: () => bus.close() });
    const restrictions =
      trust === undefined
        ? undefined
        : await openRestrictions({ buses: [bus], state, trust, signers, spreads: true, log });
    if (restrictions !== undefined) stack.add({ name: "restrictions", close: () => restrictions.close() });
    const fleet = new Fleet({
      signedBy: signers.map(({ keyId }) => keyId),
      startedAt: Date.now(),
      services: options.services,
      now: Date.now,
      onProgress: (line) => void process.stdout.write(`${printable(line)}\n`),
    });
    const reports = bus.watchReports((report) => fleet.onReport(report));
    stack.add({ name: "reports", close: () => reports.close() });
    const revisions = watchRevisions(bus, { onRevision: (revision) => fleet.onRevision(revision), onAlarm });
    stack.add({ name: "revisions", close: () => revisions.close() });
    let url = "";
    let told = false;
    const tellReady = (): void => {
      if (told || url === "") return;
      told = true;
      process.stdout.write(`ready  control ${url}\n`);
    };
    let publisher: Publisher | undefined;
    const lead = await startLead({
      bus,
      name,
      holder: await holderOf(state),
      ttlMs: options.leaseSeconds * 1_000,
      onLead: (head) => {
        const before = publisher?.status().number ?? 0;
        if (head === undefined && before > 0) {
          const message = `the bus has lost revision ${before}: everything is put there again`;
          onAlarm(new ChanceryError("unavailable", message));
        }
        return publisher?.refresh();
      },
      onLine: (line) => void process.stdout.write(`${line}\n`),
      onAlarm,
    });
    stack.add({ name: "lead", close: () => lead.close() });
    let logChanged = false;
    const operationalLog =
      trust === undefined
        ? undefined
        : await openOperationalLog({
            ...{ bus: bus.log, state, trust, signers, log },
            onChange: () => {
              logChanged = true;
              void publisher?.refresh();
            },
          });
    if (operationalLog !== undefined) {
      stack.add({ name: "operational log", close: () => operationalLog.close() });
    }
    const publishing = await publishTree({
      resources: options.resources,
      stateDirectory: join(state, "publisher"),
      bus,
      signers,
      trust: trust?.text,
      history: options.forceSource ? "force" : "follow",
      log,
      epoch: () => lead.epoch(),
      ...(operationalLog === undefined ? {} : { operationalLog: () => operationalLog.replay() }),
      onEvent: (event) => {
        fleet.onPublisher(event);
        if (event.type === "published" || event.type === "unchanged" || event.type === "standby") tellReady();
      },
    });
    publisher = publishing;
    // It may have come after the first revision was begun.
    if (logChanged) void publishing.refresh();
    stack.add({ name: "publisher", close: () => publishing.close() });
    const refill = keepFilled({
      bus,
      // Only the leader knows that what it published is the newest.
      published: () => (lead.epoch() === undefined ? 0 : publishing.status().number),
      covers: (signed) => isCovered(signed, trust, Date.now()),
      epoch: () => lead.epoch(),
      refill: () => publishing.refresh(),
      random: Math.random,
      onAlarm,
    });
    stack.add({ name: "refill", close: () => refill.close() });

    const metrics = createRegistry();
    const status = () =>
      fleet.status({
        publisher: publishing.status(),
        leadership: lead.status(),
        restrictions: restrictions?.states() ?? [],
        operationalLog: operationalLog?.size(),
        keys: trust === undefined ? [] : keyFacts(trust, signers),
      });
    const reminders = startReminders({
      check: () => [
        ...(trust === undefined ? [] : keyReminders(trust, signers, Date.now())),
        ...(operationalLog === undefined ? [] : logReminders(operationalLog.size())),
      ],
      log,
      now: Date.now,
    });
    stack.add({ name: "reminders", close: () => reminders.close() });
    if (trust !== undefined) addKeyMetrics(metrics, trust, Date.now);
    addStatusMetrics(metrics, status);
    if (restrictions !== undefined) addRestrictionMetrics(metrics, restrictions);
    const notReady = (): readonly string[] => {
      const { number, refused, error, standby } = publishing.status();
      if (number > 0 || standby === true) return [];
      if (refused.length > 0) return ["the resource tree has errors"];
      return [error?.message ?? "no revision is published yet"];
    };
    const admin = await startAdminServer({
      ...options.control,
      ...(adminTls === undefined ? {} : { tls: adminTls }),
      notReady,
      metrics,
      status,
      onDefect: (err) => log.error({ err }, "a call of the admin API failed"),
      ...(restrictions === undefined || trust === undefined
        ? {}
        : { restrictions: restrictionApi(restrictions, trust, signers, () => publishing.program()) }),
      ...(operationalLog === undefined
        ? {}
        : {
            approvals: approvalApi(operationalLog, () => publishing.inventory()),
            log: { log: operationalLog, now: Date.now },
          }),
      ...(principals === undefined ? {} : { principals: () => principals.current() }),
      ...(token === undefined ? {} : { token }),
    });
    stack.add({ name: "admin", close: () => admin.close() });
    url = admin.url;
    const { number, standby } = publishing.status();
    if (number > 0 || standby === true) tellReady();
    await runUntilStopped(log, stack);
  } finally {
    await stack.close();
  }
}

function missing(option: string): ChanceryError {
  return new ChanceryError("invalid-argument", `what is published needs ${option}`);
}
