import { z } from "zod";
import { KIND_NAMES, KINDS, type Kind } from "./kinds.ts";

/** A JSON Schema (draft 2020-12) as plain data. */
export type JSONSchema = Readonly<Record<string, unknown>>;

/** For editors: the shape of each kind as it is written, from the same definitions that check it. */
export function jsonSchemas(): Readonly<Record<Kind, JSONSchema>> {
  const entries = KIND_NAMES.map((kind): [Kind, JSONSchema] => {
    const schema = z.toJSONSchema(KINDS[kind].schema, { io: "input", target: "draft-2020-12", unrepresentable: "any" });
    return [kind, { ...schema, title: kind }];
  });
  return Object.fromEntries(entries) as Record<Kind, JSONSchema>;
}
