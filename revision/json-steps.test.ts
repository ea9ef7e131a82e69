import fc from "fast-check";
import { expect, test } from "vitest";
import { z } from "zod";
import { atOnce } from "../policy/index.ts";
import { jsonSteps } from "./json-steps.ts";

const item = z.strictObject({ name: z.string(), tags: z.exactOptional(z.array(z.string())) });
const whole = z.strictObject({
  items: z.array(item),
  more: z.exactOptional(z.array(z.number())),
  title: z.string(),
  note: z.exactOptional(z.record(z.string(), z.unknown())),
});

/** What the plain way makes of it. */
function atOnceOf(text: string, schema: z.ZodType): unknown {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return "not JSON";
  }
  const parsed = schema.safeParse(json);
  return parsed.success ? parsed.data : "does not fit";
}

function inStepsOf(text: string, schema: z.ZodType, pieceBytes: number): unknown {
  try {
    const parsed = atOnce(jsonSteps(Buffer.from(text), schema, pieceBytes));
    return parsed.ok ? parsed.data : "does not fit";
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return "not JSON";
  }
}

const text = fc.oneof(fc.string(), fc.constantFrom(`"`, `\\`, `\\"`, "[", "]", "{,}", "é", "\u{1F600}", ":"));
const items = fc.array(fc.record({ name: text, tags: fc.array(text) }, { requiredKeys: ["name"] }));
const fitting = fc.record(
  { items, more: fc.array(fc.integer()), title: text, note: fc.dictionary(text, fc.jsonValue()) },
  { requiredKeys: ["items", "title"] },
);
const document = fc.oneof(
  fc
    .tuple(fitting, fc.constantFrom(undefined, 1, "\t"))
    .map(([value, space]) => JSON.stringify(value, undefined, space)),
  fc.tuple(fitting, fc.jsonValue()).map(([value, odd]) => JSON.stringify({ ...value, items: [...value.items, odd] })),
  fc.jsonValue().map((value) => JSON.stringify(value)),
);
const pieceBytes = fc.constantFrom(0, 1, 20, 100);

test("makes of a document what is made of it at once", () => {
  fc.assert(
    fc.property(document, pieceBytes, (json, piece) => {
      for (const schema of [whole, z.array(item)]) {
        expect(inStepsOf(json, schema, piece)).toEqual(atOnceOf(json, schema));
      }
    }),
    { numRuns: 300 },
  );
});

test("takes no document that is not JSON", () => {
  const damaged = fc
    .tuple(document, fc.nat(), fc.constantFrom("", ",", "]", "}", "[", `"`, ":", "\\", "0"))
    .map(([json, at, put]) => {
      const place = at % (json.length + 1);
      // A character that is cut in two has no bytes of its own.
      return (json.slice(0, place) + put + json.slice(place + 1)).toWellFormed();
    });
  fc.assert(
    fc.property(damaged, pieceBytes, (json, piece) => {
      for (const schema of [whole, z.array(item)]) {
        const plain = atOnceOf(json, schema);
        const stepped = inStepsOf(json, schema, piece);
        // What fits the schema nowhere need not be read to its end.
        expect(typeof plain === "string" ? typeof stepped : stepped).toEqual(
          typeof plain === "string" ? "string" : plain,
        );
      }
    }),
    { numRuns: 500 },
  );
});

test("says where what does not fit stands", () => {
  const json = JSON.stringify({ items: [{ name: "a" }, { name: 1 }], title: "t" });
  const parsed = atOnce(jsonSteps(Buffer.from(json), whole, 1));
  expect(parsed).toMatchObject({ ok: false, issues: [{ path: ["items", 1, "name"] }] });
});

test("takes no text that is not UTF-8", () => {
  const bytes = Buffer.from(JSON.stringify({ items: [{ name: "a" }], title: "t" }));
  bytes[bytes.indexOf('a"')] = 0xff;
  expect(() => atOnce(jsonSteps(bytes, whole, 1))).toThrow(SyntaxError);
});
