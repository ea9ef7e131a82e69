import { stat } from "node:fs/promises";
import { join } from "node:path";
import { type Registry, readRegistry } from "../distribution/index.ts";
import { ChanceryError, printableLines } from "../resources/index.ts";

/**
 * The registry in the state directory of `chancery control` or `start`. Says where one of its two files is damaged.
 *
 * @throws ChanceryError "not-found"; "corrupt" where neither can be read
 */
export async function openRegistry(state: string): Promise<Registry> {
  const nested = join(state, "publisher");
  const isThere = await stat(nested).then(
    (found) => found.isDirectory(),
    () => false,
  );
  const { registry, damage } = await readRegistry(isThere ? nested : state);
  if (registry !== undefined) {
    for (const { message } of damage) {
      process.stderr.write(`warning: ${printableLines(message)}: its copy is read; control mends it when it starts\n`);
    }
    return registry;
  }
  const [first] = damage;
  if (first !== undefined) throw first;
  throw new ChanceryError(
    "not-found",
    `nothing was published from ${state}: name the state directory of the control plane`,
  );
}
