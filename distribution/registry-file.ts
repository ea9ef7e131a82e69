import { readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { ChanceryError, MATURITIES, type RegisteredVersion } from "../resources/index.ts";
import { canonicalJson, type DurableFiles, digestOf, errorCode } from "../revision/index.ts";
import { type Registry, type RegistrySources, recordIdentities, recordRevision } from "./registry.ts";

const text = z.string();
const optional = <T extends z.ZodType>(schema: T) => z.exactOptional(schema);

const version = z.strictObject({
  kind: z.literal("version"),
  key: text,
  model: text,
  version: text,
  provider: text,
  maturity: z.enum(MATURITIES),
  digest: optional(text),
  owner: optional(text),
});

const approval = z.strictObject({
  kind: z.literal("approval"),
  key: text,
  version: text,
  application: text,
  jurisdictions: z.array(text),
  approvers: z.array(text),
  conditions: optional(z.array(text)),
  validFrom: optional(text),
  validUntil: optional(text),
});

const entry = z.discriminatedUnion("kind", [version, approval]);

const registrySchema = z.strictObject({
  base: z.record(text, entry),
  since: optional(z.number()),
  changes: z.array(
    z.strictObject({
      revision: z.int().nonnegative(),
      source: text,
      at: z.number(),
      before: optional(entry),
      after: optional(entry),
    }),
  ),
  identities: z.record(text, version),
});

const fileSchema = z.strictObject({ format: z.literal(1), checksum: text, registry: registrySchema });

const FILE = "registry.json";
/** The same once more, on blocks of its own: where one is damaged, nothing is lost. Written after the other. */
const COPY = "registry.copy.json";

/** Where a damaged one is put aside, for people to look at. */
const ASIDE: Readonly<Record<string, string>> = {
  [FILE]: "registry.damaged.json",
  [COPY]: "registry.copy.damaged.json",
};

export interface StoredRegistry {
  /** undefined: nothing was published from there, or neither file can be read. */
  readonly registry: Registry | undefined;
  /** Of each file that is damaged, or missing beside the other. */
  readonly damage: readonly ChanceryError[];
}

/** The registry that a publisher keeps in its state directory, from whichever of its two files is whole. */
export async function readRegistry(stateDirectory: string): Promise<StoredRegistry> {
  const { registry, damaged } = await readFiles(stateDirectory);
  return { registry, damage: damaged.map(({ error }) => error) };
}

interface DamagedFile {
  readonly name: string;
  readonly error: ChanceryError;
}

async function readFiles(stateDirectory: string) {
  const files = await Promise.all(
    [FILE, COPY].map(async (name): Promise<ReadFile & { readonly name: string }> => {
      try {
        return { name, ...(await readOne(join(stateDirectory, name))) };
      } catch (error) {
        return { name, error: ChanceryError.from(error, "unavailable") };
      }
    }),
  );
  const damaged = files.flatMap(({ name, error }): DamagedFile[] => (error === undefined ? [] : [{ name, error }]));
  const [first, copy] = files;
  const registry = first?.registry ?? copy?.registry;
  // Before there was a copy there was one file; a copy alone is what somebody left of the two.
  if (first?.registry === undefined && first?.error === undefined && copy?.registry !== undefined) {
    const file = join(stateDirectory, FILE);
    damaged.push({ name: FILE, error: new ChanceryError("corrupt", `${file} is missing beside its copy`) });
  }
  const isCopied = first?.registry !== undefined && first.checksum === copy?.checksum;
  return { registry, damaged, isCopied };
}

interface ReadFile {
  readonly registry?: Registry;
  readonly checksum?: string;
  readonly error?: ChanceryError;
}

/**
 * @returns nothing where there is no such file
 * @throws ChanceryError "corrupt"
 */
async function readOne(file: string): Promise<ReadFile> {
  let parsed: z.infer<typeof fileSchema>;
  try {
    parsed = fileSchema.parse(JSON.parse(await readFile(file, "utf8")));
  } catch (error) {
    if (errorCode(error) === "ENOENT") return {};
    throw new ChanceryError("corrupt", `${file} cannot be read`, { cause: error });
  }
  const { registry, checksum } = parsed;
  if (digestOf(canonicalJson(registry)) === checksum) return { registry, checksum };
  throw new ChanceryError("corrupt", `${file} does not match its checksum`);
}

/** The registry of the running publisher. One change at a time. */
export interface RegistryFile {
  readonly identities: ReadonlyMap<string, RegisteredVersion>;
  /** Whether any revision was recorded. */
  readonly isEmpty: boolean;
  register(
    inventory: RegistrySources,
    revision: { readonly number: number; readonly source: string; readonly at: number },
  ): Promise<void>;
  /** Takes in versions that another process has published. */
  learn(versions: readonly RegisteredVersion[]): Promise<void>;
}

/**
 * @param onAlarm  told of each file that is damaged: it is put aside and made again from the other one; where both are, what
 *   changed before is not known any more
 */
export async function openRegistryFile(
  stateDirectory: string,
  durable: DurableFiles,
  onAlarm: (alarm: ChanceryError) => void,
): Promise<RegistryFile> {
  const write = async (value: Registry): Promise<void> => {
    const file = { format: 1, checksum: digestOf(canonicalJson(value)), registry: value };
    const bytes = Buffer.from(JSON.stringify(file));
    await durable.write(join(stateDirectory, FILE), bytes);
    try {
      await durable.write(join(stateDirectory, COPY), bytes);
    } catch (cause) {
      // What changed is kept; only not twice, until the next change.
      onAlarm(new ChanceryError("unavailable", `${join(stateDirectory, COPY)} cannot be written`, { cause }));
    }
  };
  const stored = await readFiles(stateDirectory);
  let registry = stored.registry;
  for (const { name, error } of stored.damaged) {
    onAlarm(error);
    await putAside(stateDirectory, name);
  }
  if (registry !== undefined && !stored.isCopied) await write(registry);
  let identities = new Map(Object.entries(registry?.identities ?? {}));
  /** What was recorded last. */
  let recorded: readonly (readonly unknown[])[] | undefined;
  let last: Promise<void> = Promise.resolve();
  const change = (next: (registry: Registry | undefined) => Registry | undefined): Promise<void> => {
    const changed = last.then(async () => {
      const value = next(registry);
      if (value === undefined || value === registry) return;
      await write(value);
      registry = value;
      identities = new Map(Object.entries(value.identities));
    });
    // Whoever asked for it is told that it failed; the next change does not depend on it.
    last = changed.catch(() => undefined);
    return changed;
  };
  return {
    get identities() {
      return identities;
    },
    get isEmpty() {
      return registry?.since === undefined;
    },
    register: async (inventory, revision) => {
      const { modelVersions, approvals, approvalRules, applications } = inventory;
      const sources = [modelVersions, approvals, approvalRules, applications];
      // What others have published of versions since does not change what there is to record.
      if (recorded?.every((list, index) => isSame(list, sources[index] ?? [])) === true) return;
      await change((current) => recordRevision(current, inventory, revision));
      recorded = sources;
    },
    learn: (versions) => change((current) => recordIdentities(current, versions)),
  };
}

async function putAside(stateDirectory: string, name: string): Promise<void> {
  const aside = ASIDE[name];
  if (aside === undefined) return;
  try {
    await rename(join(stateDirectory, name), join(stateDirectory, aside));
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
  }
}

function isSame(one: readonly unknown[], other: readonly unknown[]): boolean {
  return one.length === other.length && one.every((item, index) => item === other[index]);
}
