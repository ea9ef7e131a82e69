import type { Command } from "commander";
import type { KeyPair } from "../envoy/index.ts";
import { ChanceryError } from "../resources/index.ts";
import { type Address, formatAddress, isLocal } from "./address.ts";
import { type CertificateFiles, openKeyPairFiles } from "./certificate-files.ts";
import type { Logger } from "./logging.ts";

/** The certificate of an admin address. */
export interface AdminTlsOptions {
  readonly adminTlsCertificate?: string;
  readonly adminTlsKey?: string;
}

const FLAGS = "--admin-tls-certificate FILE and --admin-tls-key FILE";

export function addAdminTlsOptions(command: Command): Command {
  return command
    .option(
      "--admin-tls-certificate <file>",
      "certificate (PEM) of the admin address; with its key demanded off loopback",
    )
    .option("--admin-tls-key <file>", "its private key (PEM)");
}

/**
 * Opens the certificate of the admin address, read again when its files change.
 *
 * @param address  undefined: the process has none
 * @returns undefined: without TLS, on loopback
 * @throws ChanceryError "invalid-argument" off loopback without a certificate, for one that would not be used, or files
 *   that do not hold together; "not-found"
 */
export async function openAdminCertificate(
  { adminTlsCertificate: certificate, adminTlsKey: privateKey }: AdminTlsOptions,
  address: Address | undefined,
  log: Pick<Logger, "info" | "error">,
): Promise<CertificateFiles<KeyPair> | undefined> {
  if (certificate === undefined && privateKey === undefined) {
    if (address === undefined || isLocal(address)) return undefined;
    throw new ChanceryError(
      "invalid-argument",
      `the admin address ${formatAddress(address)} is off loopback, where nothing is served without TLS, health and metrics included: add ${FLAGS}, or choose a loopback address`,
    );
  }
  if (certificate === undefined || privateKey === undefined) {
    throw new ChanceryError("invalid-argument", `${FLAGS} belong together`);
  }
  if (address === undefined) {
    throw new ChanceryError("invalid-argument", `${FLAGS} are for the admin address: add --admin ADDRESS`);
  }
  return await openKeyPairFiles({ certificate, privateKey }, log);
}
