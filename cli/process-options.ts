import { readFile } from "node:fs/promises";
import { type Command, Option } from "commander";
import { ChanceryError } from "../resources/index.ts";
import type { Address } from "./address.ts";
import { createLogger, LOG_LEVELS, type Logger } from "./logging.ts";
import { addressOption, parseSeconds } from "./options.ts";

/** Options of every command that stays. */
export interface ProcessOptions {
  readonly logLevel: string;
  readonly logFormat?: string;
  readonly stopSeconds: number;
}

export function addProcessOptions(command: Command): Command {
  return command
    .addOption(new Option("--log-level <level>", "least level of the log lines").choices(LOG_LEVELS).default("info"))
    .addOption(
      new Option("--log-format <format>", "of the log on stderr (default: pretty on a terminal, else json)").choices([
        "json",
        "pretty",
      ]),
    )
    .option("--stop-seconds <n>", "how long a stop may take before what still runs is left behind", parseSeconds, 10);
}

export function loggerOf(options: ProcessOptions, name: string): Logger {
  const format = options.logFormat === undefined ? {} : { format: options.logFormat };
  return createLogger({ level: options.logLevel, name, ...format });
}

/** Health and metrics of one process. */
export interface AdminOptions {
  readonly admin?: Address;
}

export function addAdminOption(command: Command): Command {
  return command.option("--admin <addr>", "serve /healthz, /readyz and /metrics here", addressOption);
}

/** A certificate for addresses off loopback. */
export interface TlsOptions {
  readonly tlsCertificate?: string;
  readonly tlsKey?: string;
  readonly clientCa?: string;
}

export interface TlsMaterial {
  readonly certificate: Buffer;
  readonly privateKey: Buffer;
  readonly clientCa: Buffer;
}

export function addTlsOptions(command: Command): Command {
  return command
    .option("--tls-certificate <file>", "certificate (PEM); with the next two, demanded off loopback")
    .option("--tls-key <file>", "its private key (PEM)")
    .option("--client-ca <file>", "CA (PEM) of the certificates that Envoys must present");
}

/** @throws ChanceryError "invalid-argument" for one without the others, "not-found" */
export async function readTls(options: TlsOptions): Promise<TlsMaterial | undefined> {
  const { tlsCertificate, tlsKey, clientCa } = options;
  if (tlsCertificate === undefined && tlsKey === undefined && clientCa === undefined) return undefined;
  if (tlsCertificate === undefined || tlsKey === undefined || clientCa === undefined) {
    throw new ChanceryError("invalid-argument", "--tls-certificate, --tls-key and --client-ca belong together");
  }
  const [certificate, privateKey, ca] = await Promise.all([tlsCertificate, tlsKey, clientCa].map(readPem));
  if (certificate === undefined || privateKey === undefined || ca === undefined) {
    throw new ChanceryError("internal", "a file was read and is not there");
  }
  return { certificate, privateKey, clientCa: ca };
}

async function readPem(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (cause) {
    throw new ChanceryError("not-found", `the file ${file} cannot be read`, { cause });
  }
}
