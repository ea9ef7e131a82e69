import { check } from "./check.ts";
import { compile } from "./compile.ts";
import { type Environment, environment, type Variable } from "./environment.ts";
import { parse } from "./parse.ts";
import {
  constantFromJson,
  FormProblem,
  fieldOf,
  flagIn,
  isObject,
  type Json,
  type JsonObject,
  listIn,
  objectIn,
  textIn,
  typeFromJson,
  typeToJson,
  valueFromJson,
  valueToJson,
} from "./proto-json.ts";
import { type Overload, overload } from "./signatures.ts";
import { formatProblem, problemAt } from "./source.ts";
import { DYN } from "./type.ts";
import { CelError, Failure, Unknown } from "./value.ts";

/** A case as suites of CEL have it: cel.expr.conformance.test.SimpleTest (simple.proto) as proto JSON. */

declare global {
  // ECMAScript's "JSON.parse source text access", which the library of the compiler does not know yet.
  interface JSON {
    /** What `JSON.stringify` writes as it stands. */
    rawJSON(text: string): object;
  }
}

/** One line of JSON to another. Never throws: what is no case is an answer too. */
export function answerCase(line: string): string {
  try {
    return JSON.stringify(runCase(JSON.parse(line, exactNumber)), withSign);
  } catch (error) {
    if (error instanceof SyntaxError) return JSON.stringify({ error: `not JSON: ${error.message}` });
    // The stack ends where what is written is nested too deep.
    if (error instanceof RangeError) return JSON.stringify({ error: "not a case: nested too deep" });
    throw error;
  }
}

/** Integers may be written as numbers, and have more digits than those of JavaScript. */
function exactNumber(_name: string, value: unknown, context?: { readonly source?: string }): unknown {
  const source = context?.source ?? "";
  return typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(source) ? source : value;
}

/** A zero keeps its sign. */
function withSign(_name: string, value: unknown): unknown {
  return Object.is(value, -0) ? JSON.rawJSON("-0.0") : value;
}

/** `value` is missing where only the check was asked for, `type` where there was none. */
export type CaseOutcome = { readonly value?: JsonObject; readonly type?: JsonObject } | { readonly error: string };

/** Never throws. What the case expects is not looked at. */
export function runCase(json: unknown): CaseOutcome {
  try {
    return run(objectIn(json, "a case"));
  } catch (error) {
    if (error instanceof FormProblem) return { error: `not a case: ${error.message}` };
    throw error;
  }
}

function run(json: JsonObject): CaseOutcome {
  const source = textIn(json.expr, "expr");
  const bindings = new Map([...constantsOf(json), ...bindingsOf(fieldOf(json, "bindings"))]);
  const unchecked = flagIn(fieldOf(json, "disableCheck"), "disableCheck");
  const checkOnly = flagIn(fieldOf(json, "checkOnly"), "checkOnly");
  const macros = !flagIn(fieldOf(json, "disableMacros"), "disableMacros");
  const scope = caseEnvironment(json, unchecked ? bindings : new Map());
  const parsed = parse(source, { macros });
  if (!parsed.ok) return { error: parsed.problems.map((each) => formatProblem(source, each)).join("\n") };
  if (unchecked) return outcome(source, compile(parsed, scope).evaluate(bindings));
  const checked = check(parsed.expr, source, scope);
  if (!checked.ok) return { error: checked.problems.map((each) => formatProblem(source, each)).join("\n") };
  const type = typeToJson(checked.tree.type);
  if (checkOnly) return { type };
  const result = outcome(source, compile(checked.tree, scope).evaluate(bindings));
  return "error" in result ? result : { ...result, type };
}

function outcome(source: string, value: unknown): CaseOutcome {
  const json = value instanceof Failure ? value : valueToJson(value);
  if (!(json instanceof Failure)) return { value: json };
  return { error: formatProblem(source, problemAt(source, json.offset ?? 0, json.message)) };
}

/** Name → cel.expr.ExprValue, or the cel.expr.Value itself. */
function bindingsOf(json: Json | undefined): ReadonlyMap<string, unknown> {
  const values = new Map<string, unknown>();
  if (json === undefined || json === null) return values;
  for (const [name, each] of Object.entries(objectIn(json, "bindings"))) {
    const bound = objectIn(each, `the binding "${name}"`);
    if (Object.hasOwn(bound, "error"))
      values.set(name, new CelError(errorText(bound.error) ?? `"${name}" is an error`));
    else if (Object.hasOwn(bound, "unknown")) values.set(name, new Unknown(`"${name}" is not known`));
    else values.set(name, valueFromJson(isObject(bound.value) ? bound.value : bound));
  }
  return values;
}

/** The first message of a cel.expr.ErrorSet. */
function errorText(json: Json | undefined): string | undefined {
  const [first] = isObject(json) ? listIn(json.errors, "errors") : [];
  const message = isObject(first) ? textIn(first.message, "message") : "";
  return message === "" ? undefined : message;
}

/** Variables that are declared with the value that they have. */
function constantsOf(json: JsonObject): ReadonlyMap<string, unknown> {
  const values = new Map<string, unknown>();
  for (const each of listIn(fieldOf(json, "typeEnv"), "typeEnv")) {
    const { name, ident } = objectIn(each, "a declaration");
    if (isObject(ident) && isObject(ident.value)) values.set(textIn(name, "name"), constantFromJson(ident.value));
  }
  return values;
}

/** What `typeEnv` and `container` declare; `bindings` are variables of any type. @throws FormProblem */
export function caseEnvironment(json: JsonObject, bindings: ReadonlyMap<string, unknown>): Environment {
  const variables = new Map<string, Variable>([...bindings.keys()].map((name) => [name, { type: DYN }]));
  const functions = new Map<string, Overload[]>();
  for (const each of listIn(fieldOf(json, "typeEnv"), "typeEnv")) {
    const declaration = objectIn(each, "a declaration");
    const name = textIn(declaration.name, "name");
    if (isObject(declaration.ident)) variables.set(name, { type: typeFromJson(declaration.ident.type) });
    if (isObject(declaration.function)) functions.set(name, overloadsOf(declaration.function));
  }
  return environment({ container: textIn(json.container, "container"), variables, functions });
}

function overloadsOf(json: JsonObject): Overload[] {
  return listIn(json.overloads, "overloads").map((each) => {
    const declared = objectIn(each, "an overload");
    const parameters = listIn(declared.params, "params").map((type) => typeFromJson(type));
    const id = textIn(fieldOf(declared, "overloadId"), "overloadId");
    const receiver = fieldOf(declared, "isInstanceFunction") === true;
    return overload(id, receiver, parameters, typeFromJson(fieldOf(declared, "resultType")));
  });
}
