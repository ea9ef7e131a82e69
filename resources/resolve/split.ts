import type { Authored } from "../authored.ts";
import type { Experiment, Key, Rollout } from "../inventory.ts";
import type { Reference } from "../schema/fields.ts";
import type { Path } from "../yaml-document.ts";
import { type Linking, metaOf } from "./linking.ts";
import { checkValidity } from "./validity.ts";

type Split = Authored<"Rollout"> | Authored<"Experiment">;

export function resolveRollout(object: Authored<"Rollout">, linking: Linking): Rollout | undefined {
  const { model: modelRef, to: toRef, from: fromRefs, segments, steps, step, salt, mirror, ...spec } = object.spec;
  const model = modelOf(object, modelRef, linking);
  const to = versionOf(object, toRef, ["spec", "to"], linking);
  const from = fromRefs?.map((each, index) => {
    const key = versionOf(object, each, ["spec", "from", index], linking);
    if (key !== undefined && key === to) {
      const message = "a version cannot take over from itself";
      linking.problems.error(object, ["spec", "from", index], "conflict", message);
    }
    return key ?? "";
  });
  if (step > steps.length) {
    const message = `there are ${steps.length} steps, and ${step} cannot be taken`;
    linking.problems.error(object, ["spec", "step"], "invalid-value", message, `at most ${steps.length}`);
  }
  const pinned = segments.map(({ when, version }, index) => ({
    when,
    version: versionOf(object, version, ["spec", "segments", index, "version"], linking) ?? "",
  }));
  const copied =
    mirror?.version === undefined ? to : versionOf(object, mirror.version, ["spec", "mirror", "version"], linking);
  if (model === undefined || to === undefined) return undefined;
  return {
    ...metaOf(object),
    ...spec,
    model,
    to,
    ...(from === undefined ? {} : { from }),
    steps,
    step,
    segments: pinned,
    ...(mirror === undefined || copied === undefined ? {} : { mirror: { version: copied, share: mirror.share } }),
    salt: salt ?? object.key,
  };
}

export function resolveExperiment(object: Authored<"Experiment">, linking: Linking): Experiment | undefined {
  const { model: modelRef, arms, salt, ...spec } = object.spec;
  checkValidity(object, spec, ["spec"], linking);
  const model = modelOf(object, modelRef, linking);
  const names = new Set<string>();
  const resolved = arms.map(({ version, ...arm }, index) => {
    const at: Path = ["spec", "arms", index];
    if (names.has(arm.name)) {
      const message = `two arms of this experiment have the name "${arm.name}"`;
      linking.problems.error(object, [...at, "name"], "conflict", message, "records tell arms apart by it");
    }
    names.add(arm.name);
    return { ...arm, version: versionOf(object, version, [...at, "version"], linking) ?? "" };
  });
  if (model === undefined) return undefined;
  return { ...metaOf(object), ...spec, model, arms: resolved, salt: salt ?? object.key };
}

function modelOf(object: Split, reference: Reference, { references }: Linking): Key | undefined {
  return references.upwards(object, "Model", reference, ["spec", "model"]);
}

function versionOf(object: Split, reference: Reference, at: Path, { references }: Linking): Key | undefined {
  return references.upwards(object, "ModelVersion", reference, at);
}
