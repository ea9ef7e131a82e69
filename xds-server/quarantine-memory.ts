import { createHash } from "node:crypto";
import { readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import { z } from "zod";
import { ChanceryError } from "../resources/index.ts";
import { durableFiles, ensureDirectory } from "../revision/index.ts";
import type { FormerResource } from "./last-good.ts";
import { RESOURCE_TYPES_WITHOUT_VERSION } from "./node-state.ts";
import { keyOf, MAX_ENTRIES, NO_QUARANTINE, type Quarantine, type QuarantineEntry } from "./quarantine.ts";

/** What the nodes of a group refused, and what is served to them in its place. */
export interface HeldBack {
  readonly quarantine: Quarantine;
  /** The last good ones, and what these may need. */
  readonly formers: readonly FormerResource[];
  /** Keys of entries (`keyOf`) before which there was nothing. */
  readonly added: ReadonlySet<string>;
}

export const NOTHING_HELD_BACK: HeldBack = { quarantine: NO_QUARANTINE, formers: [], added: new Set() };

/** What nodes refused, kept over restarts, so that they are not sent it again. */
export interface QuarantineMemory {
  /** By group, as it was when the process ended. Groups without any are left out. */
  readonly remembered: ReadonlyMap<string, HeldBack>;
  /** Newest wins; must not throw. */
  keep(group: string, heldBack: HeldBack): void;
}

/** On disk: one file for each group. Replicas do not share it: each learns from the nodes that it serves. */
export interface QuarantineFiles extends QuarantineMemory {
  /** Resolves when all that was to be kept is on disk. Safe to call twice. */
  close(): Promise<void>;
}

const MAX_FILES = 1_000;
const MAX_FILE_BYTES = 24 * 1024 * 1024;
/** Content of last good resources in one file; entries whose last good is not kept are not remembered. */
const MAX_FORMER_BYTES = 8 * 1024 * 1024;
/** Of one entry: which nodes refused it matters only until their build, or the group, is held back from. */
const MAX_REFUSERS = 200;
const MAX_MESSAGE = 4_096;
/** While thousands of nodes refuse, the file is not written thousands of times. */
const PAUSE_MS = 250;

const text = z.string().max(4_096);
const fileSchema = z.strictObject({
  format: z.literal(1),
  group: text,
  entries: z
    .array(
      z.strictObject({
        typeUrl: text,
        name: text,
        version: text,
        revision: z.number(),
        message: z.string().max(MAX_MESSAGE),
        since: z.number(),
        refusers: z.array(z.tuple([text, text])).max(MAX_REFUSERS),
        builds: z.array(text).max(MAX_REFUSERS),
        wholeGroup: z.boolean(),
        lastGoodRefused: z.boolean(),
        /** There was nothing before. */
        added: z.boolean(),
      }),
    )
    .max(MAX_ENTRIES),
  formers: z.array(z.strictObject({ typeUrl: text, name: text, version: text, until: z.number(), value: z.base64() })),
});

/** A file that cannot be read is reported and left out: what it held may be refused once more. */
export async function openQuarantineMemory(directory: string, log: Logger): Promise<QuarantineFiles> {
  const temporary = join(directory, "tmp");
  await ensureDirectory(temporary);
  const files = durableFiles(temporary);
  await files.removeTemporary(Number.POSITIVE_INFINITY);
  const fileOf = (group: string) => join(directory, `${createHash("sha256").update(group).digest("hex")}.json`);
  const remembered = new Map<string, HeldBack>();
  const names = (await readdir(directory)).filter((name) => name.endsWith(".json")).sort();
  for (const name of names.slice(0, MAX_FILES)) {
    const file = join(directory, name);
    try {
      if ((await stat(file)).size > MAX_FILE_BYTES) throw new ChanceryError("corrupt", "it is too large");
      const { group, ...kept } = fileSchema.parse(JSON.parse(await readFile(file, "utf8")));
      if (kept.entries.length > 0) remembered.set(group, decoded(kept));
    } catch (error) {
      log.error({ file, reason: ChanceryError.from(error).message }, "what was refused before cannot be read");
    }
  }

  const unwritten = new Map<string, HeldBack>();
  const closing = new AbortController();
  let writing: Promise<void> | undefined;

  async function write(): Promise<void> {
    for (;;) {
      const [next] = unwritten;
      if (next === undefined) return;
      const [group, heldBack] = next;
      unwritten.delete(group);
      const kept = encoded(heldBack);
      try {
        if (kept.entries.length === 0) await rm(fileOf(group), { force: true });
        else await files.write(fileOf(group), Buffer.from(JSON.stringify({ format: 1, group, ...kept })));
      } catch (error) {
        // It is held back all the same; after a restart nodes may refuse it once more.
        log.error({ group, reason: ChanceryError.from(error).message }, "what was refused cannot be kept");
      }
      // The end of the process cuts the pause short.
      await delay(PAUSE_MS, undefined, { signal: closing.signal, ref: false }).catch(() => undefined);
    }
  }

  return {
    remembered,
    keep(group, heldBack) {
      if (!unwritten.has(group) && unwritten.size >= MAX_FILES) return;
      unwritten.set(group, heldBack);
      writing ??= write().finally(() => {
        writing = undefined;
      });
    },
    close: async () => {
      closing.abort();
      while (writing !== undefined) await writing;
    },
  };
}

type Kept = Pick<z.infer<typeof fileSchema>, "entries" | "formers">;

function encoded({ quarantine, formers, added }: HeldBack): Kept {
  const kept: Kept["formers"] = [];
  let bytes = 0;
  for (const { resource, until } of formers) {
    const { typeUrl, name, version, value } = resource;
    if (RESOURCE_TYPES_WITHOUT_VERSION.has(typeUrl) || bytes + value.length > MAX_FORMER_BYTES) continue;
    bytes += value.length;
    kept.push({ typeUrl, name, version, until, value: Buffer.from(value).toString("base64") });
  }
  const entries = [...quarantine].flatMap(([key, entry]): Kept["entries"] => {
    const { typeUrl, message, refusers, builds } = entry;
    if (RESOURCE_TYPES_WITHOUT_VERSION.has(typeUrl)) return [];
    return [
      {
        ...entry,
        message: message.slice(0, MAX_MESSAGE),
        refusers: [...refusers].slice(0, MAX_REFUSERS),
        builds: [...builds].slice(0, MAX_REFUSERS),
        added: added.has(key),
      },
    ];
  });
  return { entries, formers: kept };
}

/** @throws ChanceryError "corrupt" where a resource is not what its version says */
function decoded({ entries, formers }: Kept): HeldBack {
  const quarantine = new Map<string, QuarantineEntry>();
  const added = new Set<string>();
  for (const { refusers, builds, added: isAdded, ...rest } of entries) {
    const key = keyOf(rest.typeUrl, rest.name);
    quarantine.set(key, { ...rest, refusers: new Map(refusers), builds: new Set(builds) });
    if (isAdded) added.add(key);
  }
  return {
    quarantine,
    added,
    formers: formers.map(({ until, value, ...rest }) => {
      const bytes = new Uint8Array(Buffer.from(value, "base64"));
      const version = createHash("sha256").update(bytes).digest("hex").slice(0, 16);
      if (version !== rest.version) throw new ChanceryError("corrupt", `${rest.name} is not what its version says`);
      return { resource: { ...rest, value: bytes }, until };
    }),
  };
}
