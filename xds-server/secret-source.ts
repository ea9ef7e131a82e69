import { createHash } from "node:crypto";
import { type FSWatcher, watch } from "node:fs";
import { open } from "node:fs/promises";
import { dirname, relative, resolve, sep } from "node:path";
import type { Logger } from "pino";
import type { EncodedResource, SecretReference } from "../compiler/index.ts";
import { ChanceryError } from "../resources/index.ts";
import type { Clock } from "./clock.ts";
import { expiryOf, type SecretFiles, secretResource } from "./secret-material.ts";

export interface SecretSourceOptions {
  /** Directory that files are relative to, and that none may be outside of. */
  readonly root: string;
  readonly references: readonly SecretReference[];
  readonly log: Logger;
  readonly clock: Clock;
  /** How often files are looked at even if the file system reports nothing, ms. */
  readonly pollMs?: number;
  /** Called with all secrets when they are first read, and after each change. Must not throw. */
  readonly onChange: (secrets: ReadonlyMap<string, EncodedResource>) => void;
}

/** Secret material, read from files and kept current. A bad file leaves the last good secret in force, and is reported. */
export interface SecretSource {
  /** By SDS name. References whose files were never good are missing. */
  secrets(): ReadonlyMap<string, EncodedResource>;
  /** Name → what is wrong with its files now. */
  problems(): ReadonlyMap<string, string>;
  /** Replaces the references; secrets that are no longer referred to are forgotten. Resolves when all files are read. */
  setReferences(references: readonly SecretReference[]): Promise<void>;
  /** Safe to call twice. */
  close(): void;
}

/** More than any chain of certificates; a mistaken path must not fill the memory. */
const MAX_FILE_BYTES = 1024 * 1024;
const DEBOUNCE_MS = 100;
const WORLD_READABLE = 0o004;

interface Entry {
  readonly reference: SecretReference;
  resource: EncodedResource | undefined;
  /** Digest of the files that `resource` was made from. */
  stamp: string;
  problem: string | undefined;
}

/** Reads all references, then watches their files. */
export async function createSecretSource(options: SecretSourceOptions): Promise<SecretSource> {
  const { log, clock, onChange, pollMs = 1_500 } = options;
  const root = resolve(options.root);
  let entries = new Map<string, Entry>();
  let watchers: FSWatcher[] = [];
  let closed = false;
  let cancelTimer = () => {};
  let scanning: Promise<void> = Promise.resolve();

  const current = () => {
    const secrets = new Map<string, EncodedResource>();
    for (const [name, { resource }] of entries) if (resource !== undefined) secrets.set(name, resource);
    return secrets;
  };

  async function scan(): Promise<boolean> {
    let changed = false;
    for (const entry of [...entries.values()]) {
      const before = entry.resource?.version;
      await refresh(entry, root, log, clock);
      if (entry.resource?.version !== before) changed = true;
    }
    return changed;
  }

  /** One scan at a time; the next look is planned when it is over. */
  function rescan(): Promise<void> {
    scanning = scanning.then(async () => {
      if (closed) return;
      if ((await scan()) && !closed) onChange(current());
      plan(pollMs);
    });
    return scanning;
  }

  function plan(ms: number): void {
    cancelTimer();
    if (!closed) cancelTimer = clock.after(ms, () => void rescan());
  }

  /** The polling finds what no event tells: network file systems, a directory that comes later, a swapped symlink. */
  function watchDirectories(): void {
    for (const watcher of watchers) watcher.close();
    watchers = [];
    const directories = new Set(
      [...entries.values()].flatMap(({ reference }) => filesOf(reference, root).map(dirname)),
    );
    for (const directory of directories) {
      try {
        const watcher = watch(directory, { persistent: false }, () => plan(DEBOUNCE_MS));
        // A directory that goes away: polling goes on, and says what is missing.
        watcher.on("error", () => watcher.close());
        watchers.push(watcher);
      } catch {
        // The directory does not exist; reading its files has said so, and polling will find it.
      }
    }
  }

  async function setReferences(references: readonly SecretReference[]): Promise<void> {
    const next = new Map<string, Entry>();
    for (const reference of references) {
      const known = entries.get(reference.name);
      const same = known !== undefined && JSON.stringify(known.reference) === JSON.stringify(reference);
      const resource = known?.resource;
      next.set(reference.name, same ? known : { reference, resource, stamp: "", problem: undefined });
    }
    const dropped = [...entries.keys()].some((name) => !next.has(name));
    entries = next;
    watchDirectories();
    let changed = dropped;
    scanning = scanning.then(async () => {
      if (await scan()) changed = true;
    });
    await scanning;
    if (closed) return;
    if (changed) onChange(current());
    plan(pollMs);
  }

  await setReferences(options.references);
  return {
    secrets: current,
    problems() {
      const problems = new Map<string, string>();
      for (const [name, { problem }] of entries) if (problem !== undefined) problems.set(name, problem);
      return problems;
    },
    setReferences,
    close() {
      closed = true;
      cancelTimer();
      for (const watcher of watchers) watcher.close();
      watchers = [];
    },
  };
}

async function refresh(entry: Entry, root: string, log: Logger, clock: Clock): Promise<void> {
  const { reference } = entry;
  try {
    const read = await readFiles(reference, root);
    if (read.stamp === entry.stamp) return;
    const resource = secretResource(reference.name, read.files);
    if (read.exposed)
      log.warn({ secret: reference.name }, "the secret's file can be read by every user of this machine");
    if (read.files.type === "tls" && expiryOf(read.files.certificate) <= clock.now()) {
      log.warn({ secret: reference.name }, "the certificate has expired");
    }
    if (entry.problem !== undefined) log.info({ secret: reference.name }, "the secret's files are good again");
    else if (entry.resource !== undefined) log.info({ secret: reference.name }, "the secret has changed");
    entry.resource = resource;
    entry.stamp = read.stamp;
    entry.problem = undefined;
  } catch (error) {
    // Good or not, the files are read anew next time.
    entry.stamp = "";
    const problem = ChanceryError.from(error, "not-found").message;
    if (problem === entry.problem) return;
    entry.problem = problem;
    const effect = entry.resource === undefined ? "there is none" : "the last good one stays";
    log.error({ secret: reference.name, problem }, `the secret cannot be read; ${effect}`);
  }
}

interface FilesRead {
  readonly files: SecretFiles;
  readonly stamp: string;
  /** A file with key material is readable by everyone. */
  readonly exposed: boolean;
}

async function readFiles(reference: SecretReference, root: string): Promise<FilesRead> {
  const read = [];
  for (const file of filesOf(reference, root)) read.push(await readFile(file, root));
  const stamp = read.map((file) => file.stamp).join(" ");
  const [first, second] = read;
  if (first === undefined) throw new ChanceryError("internal", "a secret reference names no file");
  switch (reference.type) {
    case "tls": {
      if (second === undefined) throw new ChanceryError("internal", "a tls secret names one file");
      const files: SecretFiles = { type: "tls", certificate: first.bytes, privateKey: second.bytes };
      return { files, stamp, exposed: second.exposed };
    }
    case "ca":
      return { files: { type: "ca", certificate: first.bytes }, stamp, exposed: false };
    case "opaque":
      return { files: { type: "opaque", value: first.bytes }, stamp, exposed: first.exposed };
  }
}

function filesOf(reference: SecretReference, root: string): string[] {
  switch (reference.type) {
    case "tls":
      return [resolve(root, reference.certificateFile), resolve(root, reference.privateKeyFile)];
    case "ca":
      return [resolve(root, reference.certificateFile)];
    case "opaque":
      return [resolve(root, reference.valueFile)];
  }
}

async function readFile(path: string, root: string): Promise<{ bytes: Buffer; stamp: string; exposed: boolean }> {
  const shown = relative(root, path);
  // Who writes resources must not reach other files of this machine. Symlinks inside the root are the operator's.
  if (!isInside(path, root)) {
    throw new ChanceryError("invalid-argument", `${shown} is outside of the directory for secrets`);
  }
  let handle: Awaited<ReturnType<typeof open>>;
  try {
    handle = await open(path, "r");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown error";
    throw new ChanceryError("not-found", `${shown} cannot be opened (${code})`);
  }
  try {
    // The open file is looked at and read, not the path: a swap between the two cannot mix versions.
    const { size, mode } = await handle.stat();
    if (size > MAX_FILE_BYTES) throw new ChanceryError("corrupt", `${shown} is larger than ${MAX_FILE_BYTES} bytes`);
    const bytes = await handle.readFile();
    const stamp = createHash("sha256").update(bytes).digest("hex");
    return { bytes, stamp, exposed: (mode & WORLD_READABLE) !== 0 };
  } finally {
    await handle.close();
  }
}

function isInside(path: string, root: string): boolean {
  return path.startsWith(root.endsWith(sep) ? root : root + sep);
}
