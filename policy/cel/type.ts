/** The types of CEL (cel-spec langdef.md "Gradual Type Checking"). */

export type Primitive = "bool" | "int" | "uint" | "double" | "string" | "bytes";

export type Type =
  | { readonly kind: "dyn" | "error" | "null" | "any" | "timestamp" | "duration" | Primitive }
  | { readonly kind: "list"; readonly element: Type }
  | { readonly kind: "map"; readonly key: Type; readonly value: Type }
  /** The type of a type. */
  | { readonly kind: "type"; readonly of?: Type }
  /** A primitive or null. */
  | { readonly kind: "wrapper"; readonly of: Primitive }
  | { readonly kind: "param"; readonly name: string }
  /** A type that only functions know the inside of; optional_type is one. */
  | { readonly kind: "opaque"; readonly name: string; readonly parameters: readonly Type[] }
  /** A type with declared fields. */
  | { readonly kind: "record"; readonly name: string };

export const DYN: Type = { kind: "dyn" };
export const ERROR: Type = { kind: "error" };
export const NULL: Type = { kind: "null" };
export const ANY: Type = { kind: "any" };
export const BOOL: Type = { kind: "bool" };
export const INT: Type = { kind: "int" };
export const UINT: Type = { kind: "uint" };
export const DOUBLE: Type = { kind: "double" };
export const STRING: Type = { kind: "string" };
export const BYTES: Type = { kind: "bytes" };
export const TIMESTAMP: Type = { kind: "timestamp" };
export const DURATION: Type = { kind: "duration" };

export function listOf(element: Type): Type {
  return { kind: "list", element };
}
export function mapOf(key: Type, value: Type): Type {
  return { kind: "map", key, value };
}
export function typeOf(of: Type): Type {
  return { kind: "type", of };
}
export function optionalOf(inner: Type): Type {
  return { kind: "opaque", name: "optional_type", parameters: [inner] };
}

/** Types by the names that are values of type `type`, and by Envoy's and protobuf's names. */
export const NAMED_TYPES: ReadonlyMap<string, Type> = new Map<string, Type>([
  ["bool", BOOL],
  ["int", INT],
  ["uint", UINT],
  ["double", DOUBLE],
  ["string", STRING],
  ["bytes", BYTES],
  ["null_type", NULL],
  ["list", listOf(DYN)],
  ["map", mapOf(DYN, DYN)],
  ["type", { kind: "type" }],
  ["optional_type", { kind: "opaque", name: "optional_type", parameters: [] }],
  ["google.protobuf.Timestamp", TIMESTAMP],
  ["google.protobuf.Duration", DURATION],
  ["google.protobuf.Any", ANY],
  ["google.protobuf.Value", DYN],
  ["google.protobuf.Struct", mapOf(STRING, DYN)],
  ["google.protobuf.ListValue", listOf(DYN)],
  ["google.protobuf.BoolValue", { kind: "wrapper", of: "bool" }],
  ["google.protobuf.BytesValue", { kind: "wrapper", of: "bytes" }],
  ["google.protobuf.DoubleValue", { kind: "wrapper", of: "double" }],
  ["google.protobuf.FloatValue", { kind: "wrapper", of: "double" }],
  ["google.protobuf.Int32Value", { kind: "wrapper", of: "int" }],
  ["google.protobuf.Int64Value", { kind: "wrapper", of: "int" }],
  ["google.protobuf.StringValue", { kind: "wrapper", of: "string" }],
  ["google.protobuf.UInt32Value", { kind: "wrapper", of: "uint" }],
  ["google.protobuf.UInt64Value", { kind: "wrapper", of: "uint" }],
]);

/** As cel-go writes types: `map(string, list(int))`. */
export function formatType(type: Type): string {
  switch (type.kind) {
    case "list":
      return `list(${formatType(type.element)})`;
    case "map":
      return `map(${formatType(type.key)}, ${formatType(type.value)})`;
    case "type":
      return type.of === undefined ? "type" : `type(${formatType(type.of)})`;
    case "wrapper":
      return `wrapper(${type.of})`;
    case "param":
    case "record":
      return type.name;
    case "opaque":
      return type.parameters.length === 0 ? type.name : `${type.name}(${type.parameters.map(formatType).join(", ")})`;
    case "error":
      return "!error!";
    default:
      return type.kind;
  }
}

/** Types inside a type, which assignability goes through one by one. */
export function parametersOf(type: Type): readonly Type[] {
  switch (type.kind) {
    case "list":
      return [type.element];
    case "map":
      return [type.key, type.value];
    case "opaque":
      return type.parameters;
    case "type":
      return type.of === undefined ? [] : [type.of];
    default:
      return [];
  }
}

export function sameType(a: Type, b: Type): boolean {
  if (a === b) return true;
  if (a.kind !== b.kind) return false;
  if ((a.kind === "param" || a.kind === "record" || a.kind === "opaque") && "name" in b && a.name !== b.name)
    return false;
  if (a.kind === "wrapper" && b.kind === "wrapper" && a.of !== b.of) return false;
  const inner = parametersOf(a);
  const others = parametersOf(b);
  return inner.length === others.length && inner.every((type, index) => sameType(type, others[index] ?? ERROR));
}

/**
 * A type as it is written in declarations: `map(string, list(A))` or `map<string, list<A>>`. A single capital letter is
 * a type parameter; a name that is no type of CEL is a record, or with parameters an opaque type.
 *
 * @returns undefined where the text is no type
 */
export function parseType(text: string): Type | undefined {
  const tokens = text.match(/[\w.]+|[<>(),]/g) ?? [];
  let at = 0;
  const read = (): Type | undefined => {
    const name = tokens[at];
    at += 1;
    if (name === undefined || !/^[\w.]+$/.test(name)) return undefined;
    if (tokens[at] !== "(" && tokens[at] !== "<") return namedType(name);
    const parameters: Type[] = [];
    do {
      at += 1;
      const parameter = read();
      if (parameter === undefined) return undefined;
      parameters.push(parameter);
    } while (tokens[at] === ",");
    if (tokens[at] !== ")" && tokens[at] !== ">") return undefined;
    at += 1;
    return parameterisedType(name, parameters);
  };
  const type = read();
  return at === tokens.length ? type : undefined;
}

function namedType(name: string): Type {
  if (/^[A-Z]$/.test(name)) return { kind: "param", name };
  if (name === "dyn") return DYN;
  if (name === "null") return NULL;
  if (name === "timestamp") return TIMESTAMP;
  if (name === "duration") return DURATION;
  return NAMED_TYPES.get(name) ?? { kind: "record", name };
}

function parameterisedType(name: string, parameters: readonly Type[]): Type | undefined {
  const [first, second] = parameters;
  if (name === "list" && first !== undefined && parameters.length === 1) return listOf(first);
  if (name === "map" && first !== undefined && second !== undefined && parameters.length === 2)
    return mapOf(first, second);
  if (name === "type" && first !== undefined && parameters.length === 1) return typeOf(first);
  if (name === "optional" && first !== undefined && parameters.length === 1) return optionalOf(first);
  return { kind: "opaque", name, parameters };
}
