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
/** Where a damaged one is put aside, for people to look at. */
const DAMAGED = "registry.damaged.json";

/**
 * The registry that a publisher keeps in its state directory.
 *
 * @returns undefined where nothing was published from there
 * @throws ChanceryError "corrupt"
 */
export async function readRegistry(stateDirectory: string): Promise<Registry | undefined> {
  const file = join(stateDirectory, FILE);
  let parsed: z.infer<typeof fileSchema>;
  try {
    parsed = fileSchema.parse(JSON.parse(await readFile(file, "utf8")));
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw new ChanceryError("corrupt", `${file} cannot be read`, { cause: error });
  }
  if (digestOf(canonicalJson(parsed.registry)) === parsed.checksum) return parsed.registry;
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

/** @param onAlarm  told where the file is damaged: it is put aside, and what changed before is then not known any more */
export async function openRegistryFile(
  stateDirectory: string,
  durable: DurableFiles,
  onAlarm: (alarm: ChanceryError) => void,
): Promise<RegistryFile> {
  let registry: Registry | undefined;
  try {
    registry = await readRegistry(stateDirectory);
  } catch (error) {
    onAlarm(ChanceryError.from(error));
    await rename(join(stateDirectory, FILE), join(stateDirectory, DAMAGED));
  }
  let identities = new Map(Object.entries(registry?.identities ?? {}));
  let last: Promise<void> = Promise.resolve();
  const change = (next: (registry: Registry | undefined) => Registry | undefined): Promise<void> => {
    const changed = last.then(async () => {
      const value = next(registry);
      if (value === undefined || value === registry) return;
      const file = { format: 1, checksum: digestOf(canonicalJson(value)), registry: value };
      await durable.write(join(stateDirectory, FILE), Buffer.from(JSON.stringify(file)));
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
    register: (inventory, revision) => change((current) => recordRevision(current, inventory, revision)),
    learn: (versions) => change((current) => recordIdentities(current, versions)),
  };
}
