/**
 * In: rules and the facts they read (`PolicyProgram`), then requests as rules see them (`DecisionInput`). Out: verdicts
 * with their explanation. Promises: pure, total, three-valued; an error is a value and never an allow.
 */

export { type AnalysisOptions, analyseProgram, type Finding } from "./analysis.ts";
export { type ConditionProblem, checkCondition } from "./approval-conditions.ts";
export { type ApprovalRuleFacts, approvalsByRule, checkApprovalRule, type VersionFacts } from "./approval-rules.ts";
export type { Basis, BasisRead } from "./basis.ts";
export {
  answerCase,
  displayValue,
  type Evaluated,
  evaluateText,
  formatProblem as formatExpressionProblem,
  formatType,
  readVariables,
  typeToJson,
  valueToJson,
} from "./cel/index.ts";
export { changedInput } from "./changed-input.ts";
export { type Checkable, checkProgram, type RuleProblem } from "./check.ts";
export { checkSplitExpressions, type SplitProblem } from "./check-splits.ts";
export { createPolicyCompiler, type PolicyCompiler } from "./compile-in-slices.ts";
export { compilePolicy } from "./decide.ts";
export type * from "./decision.ts";
export { type Change, type DecisionDifference, diffDecisions, diffPrograms } from "./diff.ts";
export { withoutEnded } from "./ended-approvals.ts";
export { explainVerdict, formatRules } from "./explain.ts";
export {
  type ApprovalExplanation,
  type AtomReading,
  type DecisionExplanation,
  type ExpressionExplanation,
  explainDecision,
  type RuleExplanation,
} from "./explain-decision.ts";
export type {
  CompiledExpression,
  Expression,
  ExpressionDoubt,
  ExpressionProblem,
  ExpressionScope,
  ExpressionType,
} from "./expression.ts";
export { ExpressionChecks } from "./expression-checks.ts";
export type { ExpressionTrace } from "./expression-trace.ts";
export { underLawOf } from "./law-clock.ts";
export type * from "./program.ts";
export { atOnce, inSlices, SLICE_MS, type Slicing, type Steps } from "./steps.ts";
export {
  type ActualDecision,
  type AskedDecision,
  actualDecision,
  type CaseDifference,
  type CaseResult,
  type ExpectedDecision,
  type PolicyCase,
  runCases,
} from "./test-runner.ts";
export { type ConditionCoverage, type Coverage, coverageOf, type RuleCoverage } from "./test-runner-coverage.ts";
export { type Mutant, type MutationResult, runMutants } from "./test-runner-mutants.ts";
export { type VocabularyEntry, vocabulary } from "./vocabulary.ts";
export { vocabularyPage } from "./vocabulary-page.ts";
