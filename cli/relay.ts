import { join } from "node:path";
import { Command } from "commander";
import { addRestrictionMetrics, createRegistry, startAdminServer } from "../admin/index.ts";
import { type Relay, startRelay } from "../distribution/index.ts";
import { ChanceryError } from "../resources/index.ts";
import { loadTrust, openRevisionStore, readBlob } from "../revision/index.ts";
import { openAdminCertificate } from "./admin-tls.ts";
import { watchKeys } from "./key-expiry.ts";
import { addNatsOptions, type NatsOptions, openNats } from "./nats-options.ts";
import { parseCount } from "./options.ts";
import { type ApiOptions, addApiOptions, addProcessOptions, loggerOf, type ProcessOptions } from "./process-options.ts";
import { openRestrictions, restrictionOptions, restrictionsInForce } from "./restrictions.ts";
import { runUntilStopped, ShutdownStack } from "./shutdown.ts";
import { lockState } from "./state-lock.ts";

interface RelayOptions extends NatsOptions, ProcessOptions, ApiOptions {
  readonly region: string;
  readonly regionNats: string;
  readonly regionCreds?: string;
  readonly regionCa?: string;
  readonly regionCertificate?: string;
  readonly regionKey?: string;
  readonly regionMonitor?: string;
  readonly regionReplicas?: number;
  readonly trust: string;
  readonly name: string;
  readonly state: string;
}

const HELP = `
Reads what control publishes on the hub (--nats), verifies it, keeps it on disk, and publishes it on the bus of its
region, whose prefix is the region's name. What the region's processes report goes to the hub. Restrictions
("chancery quarantine") are carried both ways, and taken at --admin. Without the hub the region is served from the disk.
Where the region's NATS is a leaf node of the hub, the hub is reached through it, too (--nats-domain).

Example:
  chancery relay --nats tls://hub.example.com:4222 --nats-ca ca.pem --nats-creds eu.nk --trust trust.json \\
    --region eu --region-nats nats://127.0.0.1:4222 --region-creds relay.nk
  chancery xds --nats nats://127.0.0.1:4222 --nats-prefix eu --nats-creds xds.nk --trust trust.json
`;

/** `chancery relay` */
export function relayCommand(): Command {
  const command = new Command("relay")
    .requiredOption("--region <name>", "the region that it serves: the prefix of the region's bus")
    .requiredOption("--region-nats <url,…>", "servers of the region's NATS")
    .option("--region-creds <file>", "who this process is there: a .creds file, or the nkey seed of a user")
    .option("--region-ca <file>", "CA (PEM) of those servers' certificates; demanded off loopback")
    .option("--region-certificate <file>", "certificate (PEM) of this process, where those servers ask for one")
    .option("--region-key <file>", "its private key (PEM)")
    .option("--region-monitor <url>", "monitoring of the region's NATS, to ask how soon it writes to disk")
    .option("--region-replicas <n>", "copies of each stream in a NATS cluster", parseCount)
    .requiredOption("--trust <file>", "trust file that revisions must satisfy")
    .option("--name <name>", "name of this process in reports", "relay")
    .option("--state <dir>", "where revisions are kept over restarts", join(".chancery", "relay"));
  return addProcessOptions(addApiOptions(addNatsOptions(command)))
    .addHelpText("after", HELP)
    .action(relay);
}

async function relay(options: RelayOptions): Promise<void> {
  const { name, state, region: regionName, regionMonitor, regionReplicas } = options;
  if (options.nats === undefined) throw new ChanceryError("invalid-argument", "say where the hub is: --nats URL");
  if ((options.natsPrefix ?? "chancery") === regionName && options.natsDomain === undefined) {
    const message = `the region's bus must not be the hub's: --region ${regionName} is the prefix of both`;
    throw new ChanceryError("invalid-argument", message);
  }
  const trust = await loadTrust(options.trust);
  const log = loggerOf(options, name);
  const stack = new ShutdownStack(log, options.stopSeconds * 1_000);
  try {
    const adminTls = await openAdminCertificate(options, options.admin, log);
    if (adminTls !== undefined) stack.add({ name: "admin certificate", close: () => adminTls.close() });
    const lock = await lockState(state);
    stack.add({ name: "state", close: () => lock.close() });
    const onAlarm = (alarm: ChanceryError): void => log.warn({ code: alarm.code }, alarm.message);
    const identity = { role: "relay", name } as const;
    const hub = await openNats(options, identity, { onAlarm });
    stack.add({ name: "hub", close: () => hub.close() });
    const region = await openNats(regionOptions(options), identity, {
      manageStreams: true,
      onAlarm,
      ...(regionMonitor === undefined ? {} : { monitor: regionMonitor }),
      ...(regionReplicas === undefined ? {} : { replicas: regionReplicas }),
    });
    stack.add({ name: "region", close: () => region.close() });
    const revisions = join(state, "revisions");
    const store = await openRevisionStore(revisions, { trust, now: Date.now, onAlarm });
    stack.add({ name: "revisions", close: () => store.close() });
    // The newest trust comes with it: restrictions of keys that are retired must not come back.
    await store.lastGood();
    const metrics = createRegistry();
    watchKeys(trust, stack, metrics, log);
    // Before new revisions: what is out of use must not wait for them.
    let relaying: Relay | undefined;
    const restrictions = await openRestrictions({
      ...{ buses: [region, hub], state, trust, spreads: true, log },
      onEvent: () => relaying?.reportSoon(),
    });
    stack.add({ name: "restrictions", close: () => restrictions.close() });
    let told = false;
    const started = await startRelay({
      hub,
      region,
      store,
      trust,
      readBlob: (digest) => readBlob(join(revisions, "blobs"), digest),
      regionName,
      name,
      restrictions: () => restrictionsInForce(restrictions),
      onRelayed: (number) => {
        log.info({ revision: number }, "the region has a revision");
        if (!told) process.stdout.write(`ready  relay ${regionName}\n`);
        told = true;
      },
      onAlarm,
      now: Date.now,
      random: Math.random,
    });
    relaying = started;
    stack.add({ name: "relay", close: () => started.close() });
    if (options.admin !== undefined) {
      const notReady = (): string[] => (started.status().relayed > 0 ? [] : ["the region has no revision yet"]);
      addRestrictionMetrics(metrics, restrictions);
      const admin = await startAdminServer({
        ...options.admin,
        ...(adminTls === undefined ? {} : { tls: adminTls }),
        notReady,
        metrics,
        ...(await restrictionOptions(options, trust, restrictions, [], () => started.program())),
      });
      stack.add({ name: "admin", close: () => admin.close() });
    }
    await runUntilStopped(log, stack);
  } finally {
    await stack.close();
  }
}

function regionOptions(options: RelayOptions): NatsOptions {
  const { regionCreds, regionCa, regionCertificate, regionKey } = options;
  return {
    nats: options.regionNats.split(",").map((each) => each.trim()),
    natsPrefix: options.region,
    ...(regionCreds === undefined ? {} : { natsCreds: regionCreds }),
    ...(regionCa === undefined ? {} : { natsCa: regionCa }),
    ...(regionCertificate === undefined ? {} : { natsCertificate: regionCertificate }),
    ...(regionKey === undefined ? {} : { natsKey: regionKey }),
  };
}
