import type { Experiment, Inventory, Key, Rollout } from "./inventory.ts";
import type { TreePlaces } from "./tree-places.ts";
import type { Path } from "./yaml-document.ts";

type Kind = "Rollout" | "Experiment";

/** What must hold between a split, its model and other splits. */
export function checkSplits(inventory: Inventory, tree: TreePlaces): void {
  const models = new Map(inventory.modelVersions.map((version) => [version.key, version.model]));
  for (const rollout of inventory.rollouts) {
    const { to, from = [], segments, mirror } = rollout;
    checkVersion("Rollout", rollout, to, ["spec", "to"], models, tree);
    for (const [index, key] of from.entries()) {
      checkVersion("Rollout", rollout, key, ["spec", "from", index], models, tree);
    }
    if (mirror !== undefined)
      checkVersion("Rollout", rollout, mirror.version, ["spec", "mirror", "version"], models, tree);
    for (const [index, { version }] of segments.entries()) {
      checkVersion("Rollout", rollout, version, ["spec", "segments", index, "version"], models, tree);
    }
  }
  for (const experiment of inventory.experiments) {
    for (const [index, { version }] of experiment.arms.entries()) {
      checkVersion("Experiment", experiment, version, ["spec", "arms", index, "version"], models, tree);
    }
  }
  checkOneRollout(inventory, tree);
}

function checkVersion(
  kind: Kind,
  split: Rollout | Experiment,
  version: Key,
  at: Path,
  models: ReadonlyMap<Key, Key>,
  tree: TreePlaces,
): void {
  const model = models.get(version);
  if (model === undefined || model === split.model) return;
  const message = `${version} is a version of Model "${model}", and this splits "${split.model}"`;
  tree.conflict(kind, split, at, message, "name a version of the model that is split");
}

/** A rollout without `when` decides on every request of its model: another one of the same scope is never asked. */
function checkOneRollout(inventory: Inventory, tree: TreePlaces): void {
  const taken = new Map<string, Rollout>();
  for (const rollout of inventory.rollouts) {
    const place = `${rollout.scope} ${rollout.model}`;
    const earlier = taken.get(place);
    if (earlier !== undefined) {
      const message = `Rollout "${earlier.key}" decides on every request of Model "${rollout.model}" already`;
      tree.conflict("Rollout", rollout, ["spec", "model"], message, "end one of them, or give the first a `when`");
    } else if (rollout.when === undefined) taken.set(place, rollout);
  }
}
