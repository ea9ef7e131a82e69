import type { Key } from "../resources/index.ts";
import { emptyContexts } from "./analysis-contexts.ts";
import { endingSoon, fewTargets } from "./analysis-dates.ts";
import { lawsThatBegin, unreviewedLaws } from "./analysis-law.ts";
import { ruleFindings } from "./analysis-rules.ts";
import type { Asked } from "./asked.ts";
import type { PolicyProgram } from "./program.ts";

/** Every code that a finding can carry, with what it means. Documented in docs/findings.md. */
export const FINDING_CODES = {
  "rule-shadowed": "Another rule does all that this one does, whenever this one holds.",
  "rule-never-holds": "The rule's condition cannot be true.",
  "rule-always-fails": "The rule's condition reads what no caller in reach has, or cannot be evaluated at all.",
  "allow-contradicted": "Whenever this allow rule holds, a deny rule does.",
  "empty-legal-set": "For an application nothing may answer, in a jurisdiction and for a data class that it declares.",
  "few-targets": "A model has fewer targets in a region than are asked for.",
  "approval-ends": "An approval ends soon, or has ended.",
  "certification-ends": "A certification ends soon, or has ended.",
  "agreement-ends": "An agreement about the processing of data ends soon, or has ended.",
  "safeguard-ends": "What covers processing in a country ends soon, or has ended.",
  "law-begins": "A rule of a law pack begins soon.",
  "law-unreviewed": "A law pack enforces rules that counsel has not reviewed.",
  "score-ages": "A score is, or soon will be, older than scores may be.",
  "no-reduced-plan": "The tables of a Gateway would be too long for Envoys before 1.40, which get nothing governed.",
  "ungoverned-upstream": "An upstream is served to clients that ask for no decision.",
} as const;
export type FindingCode = keyof typeof FINDING_CODES;

/** Something doubtful in a program that is correct. */
export interface Finding {
  readonly code: FindingCode;
  readonly message: string;
  readonly hint?: string;
  /** What it is about: a rule by its id, other things by their key. */
  readonly about: {
    readonly kind:
      | "rule"
      | "Application"
      | "Approval"
      | "ApprovalRule"
      | "ModelVersion"
      | "Deployment"
      | "Model"
      | "LawPack"
      | "Upstream";
    readonly key: Key;
  };
}

export interface AnalysisOptions {
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** Milliseconds ahead in which an end is soon. */
  readonly withinMs: number;
  /** Milliseconds after its evaluation for which a score counts; absent: for ever. */
  readonly scoreAgeMs?: number;
  /** Targets that a model should have in each region where it has any; absent: not looked at. */
  readonly minReady?: number;
  /** Law packs, with the ids of rules that are enforced and not reviewed; absent: not looked at. */
  readonly laws?: readonly { readonly key: Key; readonly unreviewed: readonly string[] }[];
  /** Requests of every application for models. */
  readonly asked: Asked;
  /** Told where there was too much to look at all of it. */
  readonly onNote?: (note: string) => void;
}

/** All that is doubtful, rules first. Pure but for `onNote`. */
export function analyseProgram(program: PolicyProgram, options: AnalysisOptions): readonly Finding[] {
  const { onNote = () => undefined } = options;
  return [
    ...ruleFindings(program),
    ...emptyContexts(program, options.asked, onNote),
    ...(options.minReady === undefined ? [] : fewTargets(program, options.minReady)),
    ...endingSoon(program, options),
    ...lawsThatBegin(program, options, onNote),
    ...unreviewedLaws(options.laws ?? []),
    ...ungoverned(program),
  ];
}

function ungoverned(program: PolicyProgram): readonly Finding[] {
  return program.targets.flatMap(({ governed, upstream }): Finding[] => {
    if (governed !== false) return [];
    const message = "clients that ask for no decision may reach it: no rule holds for them, and nothing is recorded";
    const hint = "set spec.governed: true unless that is meant (docs/xds.md)";
    return [{ code: "ungoverned-upstream", message, hint, about: { kind: "Upstream", key: upstream } }];
  });
}
