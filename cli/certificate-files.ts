import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { createSecureContext } from "node:tls";
import { isDeepStrictEqual } from "node:util";
import type { Command } from "commander";
import type { KeyPair, Renewable, ServerCertificate } from "../envoy/index.ts";
import { ChanceryError } from "../resources/index.ts";
import type { Logger } from "./logging.ts";

/** A certificate for addresses off loopback. */
export interface TlsOptions {
  readonly tlsCertificate?: string;
  readonly tlsKey?: string;
  readonly clientCa?: string;
}

export function addTlsOptions(command: Command): Command {
  return command
    .option("--tls-certificate <file>", "certificate (PEM); with the next two, demanded off loopback")
    .option("--tls-key <file>", "its private key (PEM)")
    .option(
      "--client-ca <file>",
      "CA (PEM) of the certificates that Envoys must present, each for its own gateway: spiffe://DOMAIN/gateway/KEY",
    );
}

/** The certificate of a server, read again when its files change. */
export interface CertificateFiles<T = ServerCertificate> extends Renewable<T> {
  close(): void;
}

/** Who a server is, in files. */
export interface KeyPairFiles {
  readonly certificate: string;
  readonly privateKey: string;
}

/** Milliseconds between looks: renewals are written days before they are needed. */
const POLL_MS = 5_000;

/**
 * Reads a server's certificate, key and client CA, and goes on looking. New ones that do not hold together are logged, and
 * the last good ones stay.
 *
 * @returns undefined when none is named
 * @throws ChanceryError "invalid-argument" for one without the others, or files that do not hold together; "not-found"
 */
export async function openCertificateFiles(
  options: TlsOptions,
  log: Pick<Logger, "info" | "error">,
  pollMs = POLL_MS,
): Promise<CertificateFiles | undefined> {
  const { tlsCertificate, tlsKey, clientCa } = options;
  if (tlsCertificate === undefined && tlsKey === undefined && clientCa === undefined) return undefined;
  if (tlsCertificate === undefined || tlsKey === undefined || clientCa === undefined) {
    throw new ChanceryError("invalid-argument", "--tls-certificate, --tls-key and --client-ca belong together");
  }
  const files = { certificate: tlsCertificate, privateKey: tlsKey };
  const read = async (): Promise<ServerCertificate> => {
    const [pair, ca] = await Promise.all([readKeyPair(files), readCa(clientCa)]);
    return { ...pair, clientCa: ca };
  };
  return await watchCertificate(read, tlsCertificate, log, pollMs);
}

/**
 * Reads a server's certificate and key, and goes on looking, as `openCertificateFiles` does.
 *
 * @throws ChanceryError "invalid-argument" for files that do not hold together; "not-found"
 */
export async function openKeyPairFiles(
  files: KeyPairFiles,
  log: Pick<Logger, "info" | "error">,
  pollMs = POLL_MS,
): Promise<CertificateFiles<KeyPair>> {
  return await watchCertificate(() => readKeyPair(files), files.certificate, log, pollMs);
}

async function watchCertificate<T extends KeyPair>(
  read: () => Promise<T>,
  file: string,
  log: Pick<Logger, "info" | "error">,
  pollMs: number,
): Promise<CertificateFiles<T>> {
  const listeners = new Set<(next: T) => void>();
  const closing = new AbortController();
  let current = await read();
  let problem: string | undefined;

  const look = async (): Promise<void> => {
    try {
      const next = await read();
      problem = undefined;
      if (isDeepStrictEqual(next, current)) return;
      current = next;
      log.info({ file, until: validUntil(next) }, "the certificate has been renewed");
      for (const listener of listeners) listener(next);
    } catch (error) {
      const { message } = ChanceryError.from(error, "invalid-argument");
      if (message !== problem)
        log.error({ problem: message }, "the certificate cannot be renewed; the last good one stays");
      problem = message;
    }
  };
  void (async () => {
    while (!closing.signal.aborted) {
      await delay(pollMs, undefined, { signal: closing.signal, ref: false }).catch(() => undefined);
      if (!closing.signal.aborted) await look();
    }
  })();

  return {
    current: () => current,
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close: () => closing.abort(),
  };
}

/** The certificates of authorities, PEM. @throws ChanceryError "not-found", "invalid-argument" */
export async function readCa(file: string): Promise<Buffer> {
  const ca = await readPem(file);
  parse(file, "no certificate", () => new X509Certificate(ca));
  return ca;
}

async function readKeyPair(files: KeyPairFiles): Promise<KeyPair> {
  const [certificate, privateKey] = await Promise.all([readPem(files.certificate), readPem(files.privateKey)]);
  const own = parse(files.certificate, "no certificate", () => new X509Certificate(certificate));
  const key = parse(files.privateKey, "no private key", () => createPrivateKey(privateKey));
  if (!own.checkPrivateKey(key)) {
    throw new ChanceryError("invalid-argument", `the key in ${files.privateKey} is not that of ${files.certificate}`);
  }
  try {
    createSecureContext({ cert: certificate, key: privateKey });
  } catch {
    // As `parse` keeps it.
    const message = `TLS does not take what is in ${files.certificate}: its chain is not whole, or its key too weak`;
    throw new ChanceryError("invalid-argument", message);
  }
  return { certificate, privateKey };
}

async function readPem(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (cause) {
    throw new ChanceryError("not-found", `the file ${file} cannot be read`, { cause });
  }
}

/** What a parser says of key material stays here: it may quote it. */
function parse<Parsed>(file: string, what: string, read: () => Parsed): Parsed {
  try {
    return read();
  } catch {
    throw new ChanceryError("invalid-argument", `${file} holds ${what} in PEM`);
  }
}

function validUntil({ certificate }: KeyPair): string {
  return new X509Certificate(certificate).validTo;
}
