import { describe, expect, it } from "vitest";
import { jsonSchemas } from "./json-schema.ts";
import { KIND_NAMES } from "./kinds.ts";

/** Follows names of properties and "[]" for items. */
function at(schema: unknown, ...path: string[]): Record<string, unknown> {
  let current = schema as Record<string, unknown>;
  for (const step of path) {
    const next = step === "[]" ? current.items : (current.properties as Record<string, unknown>)[step];
    current = next as Record<string, unknown>;
  }
  return current;
}

describe("jsonSchemas", () => {
  const schemas = jsonSchemas();

  it("has every kind, as it is written", () => {
    expect(Object.keys(schemas)).toEqual(KIND_NAMES);
    for (const [kind, schema] of Object.entries(schemas)) {
      expect(schema).toMatchObject({ title: kind, type: "object", additionalProperties: false });
      expect(at(schema, "kind")).toMatchObject({ const: kind });
      expect(schema.required).toEqual(expect.arrayContaining(["apiVersion", "kind", "metadata", "spec"]));
      expect(schema.required).not.toContain("status");
    }
  });

  it("has durations as text, defaults and descriptions", () => {
    expect(at(schemas.Model, "spec", "firstByte")).toMatchObject({
      type: "string",
      default: "30s",
      description: "Streamed answers: time to the headers of one attempt.",
    });
  });

  it("does not ask for what has a default", () => {
    expect(at(schemas.Upstream, "spec").required).toEqual(["endpoints"]);
    expect(at(schemas.Upstream, "spec", "endpoints", "[]").required).toEqual(["address", "port"]);
  });

  it("survives JSON", () => {
    expect(JSON.parse(JSON.stringify(schemas))).toEqual(schemas);
  });
});
