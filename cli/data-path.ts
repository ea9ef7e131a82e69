import { join } from "node:path";
import type { Command } from "commander";
import type { Registry } from "prom-client";
import { createRegistry } from "../admin/index.ts";
import type { KeyPair, Renewable } from "../envoy/index.ts";
import type { Address } from "./address.ts";
import { openAdminCertificate } from "./admin-tls.ts";
import { type CertificateFiles, openCertificateFiles, type TlsOptions } from "./certificate-files.ts";
import { watchKeys } from "./key-expiry.ts";
import type { Logger } from "./logging.ts";
import { addressListOption } from "./options.ts";
import { type AdminOptions, loggerOf, type ProcessOptions } from "./process-options.ts";
import { demandOneSource, openRevisionSource, type RevisionSource, type SourceOptions } from "./revision-source.ts";
import { runUntilStopped, ShutdownStack } from "./shutdown.ts";

/** What Envoys talk to: `chancery authz` and `chancery xds`. */
export type DataPathRole = "authz" | "xds";

export interface DataPathOptions extends SourceOptions, ProcessOptions, AdminOptions, TlsOptions {
  readonly listen: readonly [string];
  readonly name: string;
  readonly state: string;
}

/** What the options that both have mean for one of them. */
export interface DataPathWords {
  readonly listen: string;
  readonly name: string;
  /** Where it listens unless that is said. */
  readonly address: string;
}

export function addDataPathOptions(command: Command, role: DataPathRole, words: DataPathWords): Command {
  return command
    .option("--resources <dir>", "root of a resource tree")
    .option("--bus <dir>", "directory of a bus that a control plane publishes to")
    .option("--trust <file>", "trust file that revisions from the bus must satisfy")
    .option("--listen <addr>", `${words.listen}: HOST:PORT or unix:/path`, addressListOption, [words.address])
    .option("--name <name>", words.name, role)
    .option("--state <dir>", "where revisions are kept over restarts", join(".chancery", role));
}

/** What such a process has before it serves; closed after it. */
export interface DataPath {
  readonly log: Logger;
  readonly metrics: Registry;
  readonly source: RevisionSource;
  readonly tls: CertificateFiles | undefined;
  /** Where its admin server listens, where it has one. */
  readonly admin: (Address & { readonly tls?: Renewable<KeyPair> }) | undefined;
  /** What it starts itself; ended first, in the reverse order. */
  readonly stack: ShutdownStack;
}

/** Opens what a process on the data path needs, lets it start, and runs until it is stopped. */
export async function runDataPath(
  options: DataPathOptions,
  role: DataPathRole,
  start: (opened: DataPath) => Promise<void>,
): Promise<void> {
  demandOneSource(options);
  const log = loggerOf(options, options.name);
  const stack = new ShutdownStack(log, options.stopSeconds * 1_000);
  try {
    const adminTls = await openAdminCertificate(options, options.admin, log);
    if (adminTls !== undefined) stack.add({ name: "admin certificate", close: () => adminTls.close() });
    const tls = await openCertificateFiles(options, log);
    if (tls !== undefined) stack.add({ name: "certificates", close: () => tls.close() });
    const source = await openRevisionSource(options, options.state, { role, name: options.name }, log);
    stack.add({ name: "revisions", close: () => source.close() });
    const admin =
      options.admin === undefined
        ? undefined
        : { ...options.admin, ...(adminTls === undefined ? {} : { tls: adminTls }) };
    const metrics = createRegistry();
    watchKeys(source.trust, stack, metrics, log);
    await start({ log, metrics, source, tls, admin, stack });
    await runUntilStopped(log, stack);
  } finally {
    await stack.close();
  }
}
