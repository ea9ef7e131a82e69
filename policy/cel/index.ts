/**
 * In: the text of an expression and an `Environment` (variables, records, functions). Out: a syntax tree, its types or
 * what is wrong with it, and a `Program` that evaluates it. Promises: the Common Expression Language of cel-spec v0.25.1
 * with cel-go's extensions; nothing is thrown; size, depth and work are bounded; errors and unknowns are values.
 */
export { childrenOf, type Expr, qualifiedName } from "./ast.ts";
export { type Checked, type CheckedTree, check } from "./check.ts";
export { type CompileOptions, compile, DEFAULT_WORK, type Program } from "./compile.ts";
export { type CostEstimate, estimateCost, loopWork, type SizeHints } from "./cost.ts";
export { displayValue } from "./display.ts";
export { type Environment, environment, type Field, type RecordType, type Variable } from "./environment.ts";
export { type Evaluated, evaluateText, readVariables } from "./evaluate.ts";
export { type Parsed, parse } from "./parse.ts";
export { compilePattern, type Pattern } from "./patterns.ts";
export {
  FormProblem,
  type JsonObject,
  plainFromJson,
  typeFromJson,
  typeToJson,
  valueFromJson,
  valueToJson,
} from "./proto-json.ts";
export { formatProblem, type Problem, problemAt } from "./source.ts";
export { answerCase } from "./suite-case.ts";
export { timestampOfMilliseconds } from "./time.ts";
export { BOOL, DYN, formatType, parseType, type Type } from "./type.ts";
export { unparse, writtenParts } from "./unparse.ts";
export { CelError, Duration, Failure, Optional, Timestamp, TypeValue, Uint, Unknown } from "./value.ts";
