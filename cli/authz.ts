import { join } from "node:path";
import { Command } from "commander";
import { createRegistry, startAdminServer } from "../admin/index.ts";
import { DEFAULT_ADDRESSES } from "./address.ts";
import { openAdminCertificate } from "./admin-tls.ts";
import { addTlsOptions, openCertificateFiles, type TlsOptions } from "./certificate-files.ts";
import { startDecisionProcess } from "./decision-process.ts";
import { addNatsOptions } from "./nats-options.ts";
import { addressListOption } from "./options.ts";
import { type ApiOptions, addApiOptions, addProcessOptions, loggerOf, type ProcessOptions } from "./process-options.ts";
import { restrictionOptions } from "./restrictions.ts";
import { demandOneSource, openRevisionSource, type SourceOptions } from "./revision-source.ts";
import { runUntilStopped, ShutdownStack } from "./shutdown.ts";

interface AuthzOptions extends SourceOptions, ProcessOptions, ApiOptions, TlsOptions {
  readonly listen: readonly [string];
  readonly name: string;
  readonly state: string;
  readonly journal?: string;
}

const HELP = `
Straight from a directory, revisions are unsigned, and each record says so. From a bus only revisions are taken that the
trust file covers.

Examples:
  chancery authz --resources examples/quickstart/resources --listen 127.0.0.1:9191
  chancery authz --bus .chancery/bus --trust .chancery/keys/trust.json --listen unix:/run/chancery/authz.sock
  chancery authz --nats nats://127.0.0.1:4222 --nats-creds authz.nk --trust trust.json
`;

/** `chancery authz` */
export function authzCommand(): Command {
  const command = new Command("authz")
    .option("--resources <dir>", "root of a resource tree")
    .option("--bus <dir>", "directory of a bus that a control plane publishes to")
    .option("--trust <file>", "trust file that revisions from the bus must satisfy")
    .option("--listen <addr>", "where Envoys ask: HOST:PORT or unix:/path", addressListOption, [
      DEFAULT_ADDRESSES.authz[0],
    ])
    .option("--name <name>", "name of this process in records and reports", "authz")
    .option("--state <dir>", "where revisions are kept over restarts", join(".chancery", "authz"))
    .option("--journal <dir>", "where decisions are recorded (default: journal in the state directory)");
  return addProcessOptions(addTlsOptions(addApiOptions(addNatsOptions(command))))
    .addHelpText("after", HELP)
    .action(async (options: AuthzOptions) => {
      demandOneSource(options);
      const log = loggerOf(options, options.name);
      const stack = new ShutdownStack(log, options.stopSeconds * 1_000);
      try {
        const adminTls = await openAdminCertificate(options, options.admin, log);
        if (adminTls !== undefined) stack.add({ name: "admin certificate", close: () => adminTls.close() });
        const tls = await openCertificateFiles(options, log);
        if (tls !== undefined) stack.add({ name: "certificates", close: () => tls.close() });
        const metrics = createRegistry();
        const source = await openRevisionSource(options, options.state, { role: "authz", name: options.name }, log);
        stack.add({ name: "revisions", close: () => source.close() });
        const authz = await startDecisionProcess({
          source,
          name: options.name,
          listen: options.listen[0],
          journal: options.journal ?? join(options.state, "journal"),
          log,
          metrics,
          tls,
          restrictions:
            source.trust === undefined
              ? undefined
              : // On NATS, a decision service may not write restrictions.
                { trust: source.trust, state: options.state, spreads: false },
        });
        stack.add({ name: "decisions", close: () => authz.close() });
        if (options.admin !== undefined) {
          const notReady = (): string[] => (authz.ready() ? [] : ["no revision yet"]);
          const admin = await startAdminServer({
            ...options.admin,
            ...(adminTls === undefined ? {} : { tls: adminTls }),
            notReady,
            metrics,
            ...(await restrictionOptions(options, source.trust, authz.restrictions, [], () => authz.program())),
          });
          stack.add({ name: "admin", close: () => admin.close() });
        }
        authz.onReady(() => process.stdout.write(`ready  authz ${authz.address}\n`));
        await runUntilStopped(log, stack);
      } finally {
        await stack.close();
      }
    });
}
