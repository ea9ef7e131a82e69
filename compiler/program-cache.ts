import type { ApplicationFacts, ApprovalFacts, ModelFacts, ProgramRule, Target } from "../policy/index.ts";
import type { Application, Approval, Key, LawPack, Model, Policy } from "../resources/index.ts";
import type { RuledApprovals } from "./approval-rules.ts";
import { Made, MadeOf } from "./made.ts";

/** Pieces of the programs that were compiled before, by what they were made from. */
export class ProgramCache {
  readonly rules = new MadeOf<Policy | LawPack, readonly ProgramRule[]>();
  readonly applications = new MadeOf<Application, ApplicationFacts>();
  readonly models = new MadeOf<Model, ModelFacts>();
  readonly approvals = new MadeOf<Approval, ApprovalFacts>();
  readonly targets = new Made<Target>();
  readonly ages = new Made<ReadonlyMap<Key, number>>();
  readonly ruled = new Made<RuledApprovals>();

  endRound(): void {
    this.targets.endRound();
    this.ages.endRound();
    this.ruled.endRound();
  }
}
