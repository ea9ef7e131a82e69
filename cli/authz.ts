import { join } from "node:path";
import { Command } from "commander";
import { startAdminServer } from "../admin/index.ts";
import { DEFAULT_ADDRESSES } from "./address.ts";
import { addTlsOptions } from "./certificate-files.ts";
import { addDataPathOptions, type DataPath, type DataPathOptions, runDataPath } from "./data-path.ts";
import { startDecisionProcess } from "./decision-process.ts";
import { addNatsOptions } from "./nats-options.ts";
import { type ApiOptions, addApiOptions, addProcessOptions } from "./process-options.ts";
import { restrictionOptions } from "./restrictions.ts";

interface AuthzOptions extends DataPathOptions, ApiOptions {
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
  const words = {
    listen: "where Envoys ask",
    name: "name of this process in records and reports",
    address: DEFAULT_ADDRESSES.authz[0],
  };
  const command = addDataPathOptions(new Command("authz"), "authz", words).option(
    "--journal <dir>",
    "where decisions are recorded (default: journal in the state directory)",
  );
  return addProcessOptions(addTlsOptions(addApiOptions(addNatsOptions(command))))
    .addHelpText("after", HELP)
    .action((options: AuthzOptions) => runDataPath(options, "authz", (opened) => startAuthz(options, opened)));
}

async function startAuthz(options: AuthzOptions, opened: DataPath): Promise<void> {
  const { log, metrics, source, tls, stack } = opened;
  const { name, state, journal = join(state, "journal") } = options;
  const { trust } = source;
  // On NATS, a decision service may not write restrictions.
  const restrictions = trust === undefined ? undefined : { trust, state, spreads: false };
  const listen = options.listen[0];
  const authz = await startDecisionProcess({ source, name, listen, journal, log, metrics, tls, restrictions });
  stack.add({ name: "decisions", close: () => authz.close() });
  if (opened.admin !== undefined) {
    const admin = await startAdminServer({
      ...opened.admin,
      notReady: () => (authz.ready() ? [] : ["no revision yet"]),
      metrics,
      ...(await restrictionOptions(options, trust, authz.restrictions, [], () => authz.program())),
    });
    stack.add({ name: "admin", close: () => admin.close() });
  }
  authz.onReady(() => process.stdout.write(`ready  authz ${authz.address}\n`));
}
