import { mkdir, rename, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { Command } from "commander";
import { bootstrapJson, type NodeTls, nodeCertificateSds, serverCaSds } from "../envoy/index.ts";
import { ChanceryError } from "../resources/index.ts";
import { type Address, DEFAULT_ADDRESSES, formatAddress, isLocal, parseAddress } from "./address.ts";
import { demandProtectedAdmin } from "./envoy-admin.ts";
import { addressListOption, addressOption } from "./options.ts";

interface TlsOptions {
  readonly certificate?: string;
  readonly key?: string;
  readonly ca?: string;
  readonly sdsDir?: string;
  readonly xdsIdentity?: string;
  readonly authzIdentity?: string;
}

interface BootstrapOptions extends TlsOptions {
  readonly gateway: string;
  readonly nodeId: string;
  readonly xds: readonly string[];
  readonly authz: readonly string[];
  readonly admin: Address;
  readonly unprotectedAdmin?: boolean;
  readonly region?: string;
  readonly zone?: string;
  readonly loadReports?: boolean;
}

const HELP = `
Off loopback the node speaks mutual TLS. Its certificate says which gateway it serves (spiffe://DOMAIN/gateway/KEY, or
spiffe://DOMAIN/node/ID/gateway/KEY for this node alone); what the servers' certificates must say is given here. Renewed
files are taken without a restart: move them into place (as Kubernetes and certificate agents do).

Examples:
  chancery bootstrap --gateway edge --node-id edge-1 > envoy.json && envoy -c envoy.json
  chancery bootstrap --gateway edge --node-id edge-1 --xds 10.0.0.5:18000 --authz unix:/run/chancery/authz.sock \\
    --certificate tls/tls.crt --key tls/tls.key --ca tls/ca.crt --sds-dir sds \\
    --xds-identity spiffe://acme.example/xds --authz-identity spiffe://acme.example/authz
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
    .option(
      "--unprotected-admin",
      "let --admin be off loopback, where whoever reaches it can read, change and stop this Envoy",
    )
    .option("--region <name>", "locality of the node")
    .option("--zone <name>", "locality of the node")
    .option("--load-reports", "report the load of each cluster to the xDS servers (LRS)")
    .option("--certificate <file>", "certificate of the node (PEM); with the next five, demanded off loopback")
    .option("--key <file>", "its private key (PEM)")
    .option("--ca <file>", "CA (PEM) of the xDS servers and decision services")
    .option("--sds-dir <dir>", "where to write the two small files through which Envoy follows certificates")
    .option("--xds-identity <name>", "URI or DNS name that the xDS servers' certificates must have")
    .option("--authz-identity <name>", "the same of the decision services")
    .addHelpText("after", HELP)
    .action(async (options: BootstrapOptions) => {
      demandProtectedAdmin(options.admin, "--admin", options.unprotectedAdmin, "--unprotected-admin");
      const tls = await writeSds(options);
      if (tls === undefined) demandLoopback([...options.xds, ...options.authz]);
      const json = bootstrapJson({
        nodeId: options.nodeId,
        nodeGroup: options.gateway,
        xds: options.xds,
        extAuthz: options.authz,
        admin: formatAddress(options.admin),
        ...(options.region === undefined ? {} : { region: options.region }),
        ...(options.zone === undefined ? {} : { zone: options.zone }),
        ...(options.loadReports === true ? { loadReports: true } : {}),
        ...(tls === undefined ? {} : { tls }),
      });
      process.stdout.write(`${JSON.stringify(json, undefined, 2)}\n`);
    });
}

/** @throws ChanceryError "invalid-argument" */
function demandLoopback(addresses: readonly string[]): void {
  const remote = addresses.find((address) => !address.startsWith("unix:") && !isLocal(parseAddress(address)));
  if (remote === undefined) return;
  throw new ChanceryError(
    "invalid-argument",
    `${remote} is off loopback, where the node must show a certificate: add ${TLS_FLAGS.join(", ")}`,
  );
}

const TLS_FLAGS = ["--certificate", "--key", "--ca", "--sds-dir", "--xds-identity", "--authz-identity"];

/** A server on Unix sockets alone shows no certificate, so that nothing need be known of it. */
async function writeSds(options: BootstrapOptions): Promise<NodeTls | undefined> {
  const { certificate, key, ca, sdsDir } = options;
  const xdsIdentity = options.xdsIdentity ?? (isOnSockets(options.xds) ? "" : undefined);
  const authzIdentity = options.authzIdentity ?? (isOnSockets(options.authz) ? "" : undefined);
  if (
    [certificate, key, ca, sdsDir, options.xdsIdentity, options.authzIdentity].every((value) => value === undefined)
  ) {
    return undefined;
  }
  if (
    certificate === undefined ||
    key === undefined ||
    ca === undefined ||
    sdsDir === undefined ||
    xdsIdentity === undefined ||
    authzIdentity === undefined
  ) {
    const given = [certificate, key, ca, sdsDir, xdsIdentity, authzIdentity];
    const missing = TLS_FLAGS.filter((_, index) => given[index] === undefined);
    throw new ChanceryError("invalid-argument", `TLS needs ${missing.join(", ")} as well`);
  }
  await mkdir(sdsDir, { recursive: true });
  const certificateSds = resolve(sdsDir, "node-certificate.json");
  const caSds = resolve(sdsDir, "server-ca.json");
  const files = { certificate: resolve(certificate), privateKey: resolve(key) };
  await replaceFile(certificateSds, nodeCertificateSds({ ...files, directory: dirname(files.certificate) }));
  await replaceFile(caSds, serverCaSds(resolve(ca), dirname(resolve(ca))));
  return {
    ...{ certificateSds, caSds },
    ...(xdsIdentity === "" ? {} : { xdsIdentity }),
    ...(authzIdentity === "" ? {} : { authzIdentity }),
  };
}

function isOnSockets(addresses: readonly string[]): boolean {
  return addresses.every((address) => address.startsWith("unix:"));
}

/** Whole or not at all: an Envoy may be reading it. */
async function replaceFile(file: string, json: object): Promise<void> {
  const next = join(dirname(file), `.${process.pid}.new`);
  await writeFile(next, `${JSON.stringify(json, undefined, 2)}\n`);
  await rename(next, file);
}
