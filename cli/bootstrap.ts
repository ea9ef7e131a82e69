import { Command } from "commander";
import { bootstrapJson } from "../envoy/index.ts";
import { DEFAULT_ADDRESSES, formatAddress } from "./address.ts";
import { addressListOption, addressOption } from "./options.ts";

interface BootstrapOptions {
  readonly gateway: string;
  readonly nodeId: string;
  readonly xds: readonly string[];
  readonly authz: readonly string[];
  readonly admin: ReturnType<typeof addressOption>;
  readonly region?: string;
  readonly zone?: string;
}

const HELP = `
Examples:
  chancery bootstrap --gateway edge --node-id edge-1 > envoy.json && envoy -c envoy.json
  chancery bootstrap --gateway edge --node-id edge-1 --xds 10.0.0.5:18000 --authz unix:/run/chancery/authz.sock
`;

/** `chancery bootstrap --gateway KEY --node-id ID` */
export function bootstrapCommand(): Command {
  return new Command("bootstrap")
    .requiredOption("--gateway <key>", "key of the Gateway whose configuration the node runs (its node group)")
    .requiredOption("--node-id <id>", "name of the node, unique in the fleet")
    .option("--xds <addr,…>", "xDS servers", addressListOption, [DEFAULT_ADDRESSES.xds])
    .option("--authz <addr,…>", "decision services: HOST:PORT or unix:/path", addressListOption, [
      ...DEFAULT_ADDRESSES.authz,
    ])
    .option(
      "--admin <addr>",
      "admin interface of the Envoy",
      addressOption,
      addressOption(DEFAULT_ADDRESSES.envoyAdmin),
    )
    .option("--region <name>", "locality of the node")
    .option("--zone <name>", "locality of the node")
    .addHelpText("after", HELP)
    .action((options: BootstrapOptions) => {
      const json = bootstrapJson({
        nodeId: options.nodeId,
        nodeGroup: options.gateway,
        xds: options.xds,
        extAuthz: options.authz,
        admin: formatAddress(options.admin),
        ...(options.region === undefined ? {} : { region: options.region }),
        ...(options.zone === undefined ? {} : { zone: options.zone }),
      });
      process.stdout.write(`${JSON.stringify(json, undefined, 2)}\n`);
    });
}
