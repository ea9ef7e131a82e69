import {
  type DescField,
  type DescMessage,
  type DescOneof,
  getOption,
  hasOption,
  type Message,
} from "@bufbuild/protobuf";
import {
  isReflectMessage,
  type ReflectList,
  type ReflectMap,
  type ReflectMessage,
  reflect,
} from "@bufbuild/protobuf/reflect";
import { type Any, AnySchema, anyUnpack, type Duration, isWrapperDesc } from "@bufbuild/protobuf/wkt";
import {
  type FieldRules,
  required as oneofRequired,
  rules as rulesOption,
} from "../protos/gen/validate/validate_pb.ts";
import { envoyTypes } from "./registry.ts";
import { checkBytes, checkDuration, checkNumber, checkString, type NumberRules } from "./validate-scalar.ts";

/** A broken rule: where (field path, as Envoy writes it) and which. */
export interface Violation {
  /** "virtual_hosts[0].routes[2].match": proto field names from the message that was checked. */
  readonly path: string;
  readonly message: string;
}

const MAX_DEPTH = 100;

/**
 * Checks a message, what it contains, and what is packed in its `Any`s against the protoc-gen-validate rules that
 * Envoy's protos carry, so that Envoy has no reason to reject it for its form.
 *
 * @see https://github.com/bufbuild/protoc-gen-validate (constraint rules)
 */
export function validate(schema: DescMessage, message: Message): Violation[] {
  const violations: Violation[] = [];
  checkMessage(reflect(schema, message), "", 0, violations);
  return violations;
}

interface FieldPlan {
  readonly field: DescField;
  readonly rules: FieldRules | undefined;
}

interface MessagePlan {
  readonly fields: readonly FieldPlan[];
  readonly requiredOneofs: readonly DescOneof[];
}

const plans = new WeakMap<DescMessage, MessagePlan>();

function planOf(desc: DescMessage): MessagePlan {
  const known = plans.get(desc);
  if (known !== undefined) return known;
  const plan: MessagePlan = {
    fields: desc.fields
      .map((field) => ({
        field,
        rules: hasOption(field, rulesOption) ? getOption(field, rulesOption) : undefined,
      }))
      .filter(({ field, rules }) => rules !== undefined || holdsMessage(field)),
    requiredOneofs: desc.oneofs.filter((oneof) => hasOption(oneof, oneofRequired) && getOption(oneof, oneofRequired)),
  };
  plans.set(desc, plan);
  return plan;
}

function holdsMessage(field: DescField): boolean {
  return (
    field.fieldKind === "message" ||
    (field.fieldKind === "list" && field.listKind === "message") ||
    (field.fieldKind === "map" && field.mapKind === "message")
  );
}

function checkMessage(message: ReflectMessage, path: string, depth: number, out: Violation[]): void {
  if (depth > MAX_DEPTH) {
    out.push({ path, message: `nested deeper than ${MAX_DEPTH} messages` });
    return;
  }
  if (message.desc.typeName === AnySchema.typeName) {
    checkAny(message.message as Any, path, depth, out);
    return;
  }
  const plan = planOf(message.desc);
  for (const oneof of plan.requiredOneofs) {
    if (message.oneofCase(oneof) === undefined) {
      out.push({ path: join(path, oneof.name), message: "one of its fields is required" });
    }
  }
  for (const { field, rules } of plan.fields) checkField(message, field, rules, join(path, field.name), depth, out);
}

function checkAny(any: Any, path: string, depth: number, out: Violation[]): void {
  if (any.typeUrl === "") {
    out.push({ path, message: "an Any without a type" });
    return;
  }
  const unpacked = anyUnpack(any, envoyTypes);
  const desc = unpacked === undefined ? undefined : envoyTypes.getMessage(unpacked.$typeName);
  if (unpacked === undefined || desc === undefined) {
    out.push({ path, message: `unknown type ${any.typeUrl}` });
    return;
  }
  checkMessage(reflect(desc, unpacked), `${path}<${desc.name}>`, depth + 1, out);
}

function checkField(
  message: ReflectMessage,
  field: DescField,
  rules: FieldRules | undefined,
  path: string,
  depth: number,
  out: Violation[],
): void {
  switch (field.fieldKind) {
    case "message": {
      if (!message.isSet(field)) {
        // In a oneof the rule speaks of the member that is set; that one is set is the oneof's own rule.
        if (field.oneof !== undefined) return;
        if (rules?.message?.required === true || isRequiredMessage(rules)) out.push({ path, message: "is required" });
        return;
      }
      const value = message.get(field);
      if (isWrapperDesc(field.message)) {
        const inner = field.message.fields[0];
        if (inner !== undefined && rules !== undefined) checkScalar(value.get(inner), inner, rules, path, out);
        return;
      }
      if (rules?.type.case === "duration") {
        for (const problem of checkDuration(value.message as Duration, rules.type.value))
          out.push({ path, message: problem });
      }
      if (rules?.message?.skip !== true) checkMessage(value, path, depth + 1, out);
      return;
    }
    case "scalar":
    case "enum":
      // A field of a oneof (or with presence) that is not set has no value to check.
      if (rules === undefined || (field.presence === PRESENCE_EXPLICIT && !message.isSet(field))) return;
      if (field.oneof !== undefined && !message.isSet(field)) return;
      checkScalar(message.get(field), field, rules, path, out);
      return;
    case "list":
      checkList(message.get(field), field, rules, path, depth, out);
      return;
    case "map":
      checkMap(message.get(field), field, rules, path, depth, out);
  }
}

function checkList(
  list: ReflectList,
  field: DescField,
  rules: FieldRules | undefined,
  path: string,
  depth: number,
  out: Violation[],
): void {
  const rule = rules?.type.case === "repeated" ? rules.type.value : undefined;
  if (rule !== undefined) {
    if (BigInt(list.size) < rule.minItems) out.push({ path, message: `needs at least ${rule.minItems} items` });
    if (rule.maxItems > 0n && BigInt(list.size) > rule.maxItems) {
      out.push({ path, message: `has ${list.size} items, more than ${rule.maxItems}` });
    }
    if (rule.unique && new Set(list).size !== list.size) out.push({ path, message: "has an item twice" });
  }
  let index = 0;
  for (const item of list) {
    const at = `${path}[${index++}]`;
    if (isReflectMessage(item)) checkMessage(item, at, depth + 1, out);
    else if (rule?.items !== undefined) checkScalar(item, field, rule.items, at, out);
  }
}

function checkMap(
  map: ReflectMap,
  field: DescField,
  rules: FieldRules | undefined,
  path: string,
  depth: number,
  out: Violation[],
): void {
  const rule = rules?.type.case === "map" ? rules.type.value : undefined;
  if (rule !== undefined && BigInt(map.size) < rule.minPairs) {
    out.push({ path, message: `needs at least ${rule.minPairs} entries` });
  }
  for (const [key, value] of map) {
    const at = `${path}[${JSON.stringify(key)}]`;
    if (rule?.keys !== undefined) checkScalar(key, field, rule.keys, `${at} (key)`, out);
    if (isReflectMessage(value)) checkMessage(value, at, depth + 1, out);
  }
}

/** `google.protobuf.FeatureSet.FieldPresence.EXPLICIT`: the field knows whether it was set. */
const PRESENCE_EXPLICIT = 1;

function isRequiredMessage(rules: FieldRules | undefined): boolean {
  switch (rules?.type.case) {
    case "duration":
    case "any":
      return rules.type.value.required;
    default:
      return false;
  }
}

function checkScalar(value: unknown, field: DescField, rules: FieldRules, path: string, out: Violation[]): void {
  const add = (problems: readonly string[]) => {
    for (const problem of problems) out.push({ path, message: problem });
  };
  switch (rules.type.case) {
    case "string":
      add(checkString(String(value), rules.type.value));
      return;
    case "bytes":
      if (value instanceof Uint8Array) add(checkBytes(value, rules.type.value));
      return;
    case "bool":
      if (Object.hasOwn(rules.type.value, "const") && value !== rules.type.value.const) {
        add([`must be ${rules.type.value.const}`]);
      }
      return;
    case "enum": {
      const rule = rules.type.value;
      const number = Number(value);
      if (rule.definedOnly && field.enum !== undefined && !field.enum.values.some((v) => v.number === number)) {
        add([`${number} is not a value of ${field.enum.name}`]);
      }
      if (rule.notIn.includes(number)) add([`must not be ${number}`]);
      return;
    }
    case undefined:
    case "repeated":
    case "map":
    case "any":
    case "duration":
    case "timestamp":
      return;
    default:
      add(checkNumber(value as number | bigint, rules.type.value as NumberRules));
  }
}

function join(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}
