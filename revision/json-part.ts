import { z } from "zod";
import { ChanceryError } from "../resources/index.ts";
import { canonicalJson } from "./canonical-json.ts";
import { elementOf, shapeOf } from "./json-steps.ts";

/**
 * Texts that were written before, by the schema that they were found to fit and the objects that they are of, which never
 * change. Owned by one caller.
 */
export type JsonTexts = WeakMap<z.core.$ZodType, WeakMap<object, string>>;

/**
 * Canonical JSON of a part. What readers would refuse is refused here, where it is made. Elements of lists that are members
 * of the outermost object are written and checked once each, as readers check them.
 *
 * @param what  names the part in errors
 * @throws ChanceryError "internal" for what does not fit
 */
export function jsonPart(value: object, schema: z.ZodType, what: string, texts: JsonTexts): string {
  const shape = shapeOf(schema);
  if (shape === undefined || Array.isArray(value)) return checkedText(value, schema, what);
  const shell: Record<string, unknown> = {};
  const lists = new Map<string, string>();
  for (const [name, member] of Object.entries(value)) {
    const element = elementOf(shape[name]);
    shell[name] = element === undefined || !Array.isArray(member) ? member : [];
    if (element === undefined || !Array.isArray(member)) continue;
    const known = texts.get(element) ?? new WeakMap<object, string>();
    texts.set(element, known);
    lists.set(name, member.map((each: unknown) => elementText(each, element, `${what}, ${name}`, known)).join(","));
  }
  checkedText(shell, schema, what);
  const members = Object.keys(shell)
    .filter((name) => shell[name] !== undefined)
    .sort()
    .map((name) => {
      const list = lists.get(name);
      return `${JSON.stringify(name)}:${list === undefined ? canonicalJson(shell[name]) : `[${list}]`}`;
    });
  return `{${members.join(",")}}`;
}

function elementText(element: unknown, schema: z.core.$ZodType, what: string, known: WeakMap<object, string>): string {
  if (typeof element !== "object" || element === null) return checkedText(element, schema, what);
  const text = known.get(element) ?? checkedText(element, schema, what);
  known.set(element, text);
  return text;
}

function checkedText(value: unknown, schema: z.core.$ZodType, what: string): string {
  const text = canonicalJson(value);
  const parsed = z.safeParse(schema, JSON.parse(text));
  if (parsed.success) return text;
  throw new ChanceryError(
    "internal",
    `${what} does not fit its schema: ${z.prettifyError(parsed.error).slice(0, 500)}`,
  );
}
