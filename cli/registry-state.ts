import { stat } from "node:fs/promises";
import { join } from "node:path";
import { type Registry, readRegistry } from "../distribution/index.ts";
import { ChanceryError } from "../resources/index.ts";

/**
 * The registry in the state directory of `chancery control` or `start`.
 *
 * @throws ChanceryError "not-found", "corrupt"
 */
export async function openRegistry(state: string): Promise<Registry> {
  const nested = join(state, "publisher");
  const isThere = await stat(nested).then(
    (found) => found.isDirectory(),
    () => false,
  );
  const registry = await readRegistry(isThere ? nested : state);
  if (registry !== undefined) return registry;
  throw new ChanceryError(
    "not-found",
    `nothing was published from ${state}: name the state directory of the control plane`,
  );
}
