import { atOnce, type ModelFacts, type PolicyProgram, type Steps, type Target } from "../policy/index.ts";
import type { Key } from "../resources/index.ts";
import { type IdentityIndex, identitySteps } from "./identity-index.ts";

/** What tables look up in a program. Made once for it, however often tables are made. */
export interface ProgramIndex {
  readonly identities: IdentityIndex;
  /** By pool. */
  readonly targets: ReadonlyMap<string, Target>;
  readonly models: ReadonlyMap<Key, ModelFacts>;
  /** Model → version name → key of the version. */
  readonly versions: ReadonlyMap<Key, ReadonlyMap<string, Key>>;
}

const indexes = new WeakMap<PolicyProgram, ProgramIndex>();

export function indexProgram(program: PolicyProgram): ProgramIndex {
  return atOnce(programIndexSteps(program));
}

/** Rests after so many targets or models. */
const AT_A_TIME = 256;

/** As `indexProgram`, in steps. */
export function* programIndexSteps(program: PolicyProgram): Steps<ProgramIndex> {
  const known = indexes.get(program);
  if (known !== undefined) return known;
  const identities = yield* identitySteps(program.applications);
  const targets = new Map<string, Target>();
  const versions = new Map<Key, Map<string, Key>>();
  for (const target of program.targets) {
    targets.set(target.pool, target);
    if (targets.size % AT_A_TIME === 0) yield;
    const { model } = target;
    if (model === undefined) continue;
    let ofModel = versions.get(model.model);
    if (ofModel === undefined) {
      ofModel = new Map();
      versions.set(model.model, ofModel);
    }
    ofModel.set(model.versionName, model.version);
  }
  const models = new Map<Key, ModelFacts>();
  for (const model of program.models) {
    models.set(model.key, model);
    if (models.size % AT_A_TIME === 0) yield;
  }
  const index = { identities, targets, models, versions };
  indexes.set(program, index);
  return index;
}
