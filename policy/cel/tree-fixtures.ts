import { type CheckedExpr, CheckedExprSchema } from "@bufbuild/cel-spec/cel/expr/checked_pb.js";
import { ExprSchema, type Expr as ProtoExpr } from "@bufbuild/cel-spec/cel/expr/syntax_pb.js";
import { create, fromJson, type JsonObject } from "@bufbuild/protobuf";
import type { Expr, LiteralExpr } from "./ast.ts";
import type { CheckedTree } from "./check.ts";
import { typeToJson } from "./proto-json.ts";
import { Uint } from "./value.ts";

/** Our trees as cel.expr.Expr and cel.expr.CheckedExpr, for the suites that compare trees. Tests only. */

export function protoExpr(expr: Expr): ProtoExpr {
  return fromJson(ExprSchema, exprJson(expr));
}

/** As cel-go checks: with references of names and overloads, and without those of operators that are literals. */
export function protoChecked(tree: CheckedTree): CheckedExpr {
  const references: Record<string, JsonObject> = {};
  for (const [id, name] of tree.names) references[id] = { name };
  for (const [id, overloads] of tree.overloads) references[id] = { overloadId: [...overloads] };
  const checked = fromJson(CheckedExprSchema, {
    typeMap: Object.fromEntries([...tree.types].map(([id, type]) => [id, toJson(typeToJson(type))])),
    referenceMap: references,
  });
  return create(CheckedExprSchema, { ...checked, expr: protoExpr(qualified(tree.expr, tree)) });
}

function toJson(value: unknown): JsonObject {
  return JSON.parse(JSON.stringify(value));
}

/** Names stand as what they were resolved to: cel-go writes them so into the checked tree. */
function qualified(expr: Expr, tree: CheckedTree): Expr {
  const name = tree.names.get(expr.id);
  const inner = (each: Expr) => qualified(each, tree);
  switch (expr.kind) {
    case "literal":
      return expr;
    case "ident":
      return name === undefined ? expr : { ...expr, name };
    case "select":
      if (name !== undefined) return { kind: "ident", id: expr.id, offset: expr.offset, name };
      return { ...expr, operand: inner(expr.operand) };
    case "call": {
      const { target, ...call } = expr;
      const args = expr.args.map(inner);
      if (target === undefined || name !== undefined) return { ...call, name: name ?? call.name, args };
      return { ...expr, target: inner(target), args };
    }
    case "list":
      return { ...expr, elements: expr.elements.map(inner) };
    case "map":
      return {
        ...expr,
        entries: expr.entries.map((each) => ({ ...each, key: inner(each.key), value: inner(each.value) })),
      };
    case "struct":
      return {
        ...expr,
        name: name ?? expr.name,
        entries: expr.entries.map((each) => ({ ...each, value: inner(each.value) })),
      };
    case "comprehension": {
      const { range, init, condition, step, result } = expr;
      return {
        ...expr,
        range: inner(range),
        init: inner(init),
        condition: inner(condition),
        step: inner(step),
        result: inner(result),
      };
    }
  }
}

function exprJson(expr: Expr): JsonObject {
  return { id: String(expr.id), ...kindJson(expr) };
}

function kindJson(expr: Expr): JsonObject {
  switch (expr.kind) {
    case "literal":
      return { constExpr: literalJson(expr.value) };
    case "ident":
      return { identExpr: { name: expr.name } };
    case "select":
      return { selectExpr: { operand: exprJson(expr.operand), field: expr.field, testOnly: expr.testOnly } };
    case "call": {
      const target = expr.target === undefined ? {} : { target: exprJson(expr.target) };
      return { callExpr: { ...target, function: expr.name, args: expr.args.map(exprJson) } };
    }
    case "list":
      return { listExpr: { elements: expr.elements.map(exprJson), optionalIndices: [...expr.optional] } };
    case "map":
      return {
        structExpr: {
          entries: expr.entries.map(({ id, key, value, optional }) => ({
            id: String(id),
            mapKey: exprJson(key),
            value: exprJson(value),
            optionalEntry: optional,
          })),
        },
      };
    case "struct":
      return {
        structExpr: {
          messageName: expr.name,
          entries: expr.entries.map(({ id, field, value, optional }) => ({
            id: String(id),
            fieldKey: field,
            value: exprJson(value),
            optionalEntry: optional,
          })),
        },
      };
    case "comprehension":
      return {
        comprehensionExpr: {
          iterVar: expr.variable,
          ...(expr.variable2 === undefined ? {} : { iterVar2: expr.variable2 }),
          iterRange: exprJson(expr.range),
          accuVar: expr.accumulator,
          accuInit: exprJson(expr.init),
          loopCondition: exprJson(expr.condition),
          loopStep: exprJson(expr.step),
          result: exprJson(expr.result),
        },
      };
  }
}

function literalJson(value: LiteralExpr["value"]): JsonObject {
  switch (typeof value) {
    case "boolean":
      return { boolValue: value };
    case "bigint":
      return { int64Value: String(value) };
    case "number":
      return { doubleValue: value };
    case "string":
      return { stringValue: value };
  }
  if (value === null) return { nullValue: null };
  return value instanceof Uint
    ? { uint64Value: String(value.value) }
    : { bytesValue: Buffer.from(value).toString("base64") };
}
