import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { ChanceryError, type Inventory, MATURITIES, type RegisteredVersion } from "../resources/index.ts";
import { canonicalJson, type DurableFiles, digestOf, errorCode } from "../revision/index.ts";
import { type Registry, recordRevision } from "./registry.ts";

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
  validFrom: optional(text),
  validUntil: optional(text),
});

const entry = z.discriminatedUnion("kind", [version, approval]);

const registrySchema = z.strictObject({
  base: z.record(text, entry),
  since: z.number(),
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

/** The registry of the running publisher. */
export interface RegistryFile {
  readonly identities: ReadonlyMap<string, RegisteredVersion>;
  register(
    inventory: Pick<Inventory, "modelVersions" | "approvals">,
    revision: { readonly number: number; readonly source: string; readonly at: number },
  ): Promise<void>;
}

/** @param onAlarm  told where the file is damaged: what was published before is then not known any more */
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
  }
  let identities = new Map(Object.entries(registry?.identities ?? {}));
  return {
    get identities() {
      return identities;
    },
    register: async (inventory, revision) => {
      const next = recordRevision(registry, inventory, revision);
      if (next === registry) return;
      const file = { format: 1, checksum: digestOf(canonicalJson(next)), registry: next };
      await durable.write(join(stateDirectory, FILE), Buffer.from(JSON.stringify(file)));
      registry = next;
      identities = new Map(Object.entries(next.identities));
    },
  };
}
