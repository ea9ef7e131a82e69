import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { scanJson } from "./json-scanner.ts";

const bytes = (text: string) => Buffer.from(text, "utf8");
const scan = (text: string, member = "model") => scanJson(bytes(text), member);

describe("scanJson", () => {
  it("finds the member, its span in bytes, and stream", () => {
    const text = ' {"é":[1,{"model":"no"}], "model" : "gpt-4" ,"stream":true} \n';
    const result = scan(text);
    expect(result).toEqual({
      ok: true,
      value: "gpt-4",
      span: { offset: Buffer.byteLength(' {"é":[1,{"model":"no"}], "model" : '), length: 7 },
      otherType: false,
      stream: true,
    });
  });

  it.each([
    ["{}", { value: undefined, otherType: false, stream: false }],
    ['{"model":5}', { value: undefined, otherType: true, stream: false }],
    ['{"model":null}', { value: undefined, otherType: true, stream: false }],
    ['{"model":{"model":"x"}}', { value: undefined, otherType: true, stream: false }],
    ['{"model":["x"]}', { value: undefined, otherType: true, stream: false }],
    ['{"m\\u006fdel":"x"}', { value: "x", otherType: false, stream: false }],
    ['{"model":"\\ud83d\\ude00\\u0041"}', { value: "😀A", otherType: false, stream: false }],
    ['{"model":"x","stream":false}', { value: "x", otherType: false, stream: false }],
    ['{"model":"x","stream":null}', { value: "x", otherType: false, stream: false }],
    ['{"a":{"model":"y","stream":true},"model":"x"}', { value: "x", otherType: false, stream: false }],
    ['{"a":[],"b":{},"c":[[]],"d":[{}],"model":"x"}', { value: "x", otherType: false, stream: false }],
  ])("reads %s", (text, expected) => {
    expect({ value: undefined, ...scan(text) }).toMatchObject({ ok: true, ...expected });
  });

  it.each([
    ["a second model", '{"model":"a","model":"b"}'],
    ["a second model spelled with an escape", '{"model":"a","\\u006dodel":"b"}'],
    ["a second model in other case", '{"model":"a","Model":"b"}'],
    ["the model in other case alone", '{"MODEL":"b"}'],
    ["a second stream", '{"stream":true,"stream":false}'],
    ["a second stream with a long s", '{"stream":true,"ſtream":false}'],
    ["a stream that is no boolean", '{"stream":"true"}'],
    ["a stream that is a number", '{"stream":1}'],
    ["a byte order mark", '\ufeff{"model":"a"}'],
    ["an array", '["model"]'],
    ["a string", '"model"'],
    ["nothing", ""],
    ["white space alone", "  "],
    ["trailing garbage", '{"model":"a"}x'],
    ["two documents", '{"model":"a"}{"model":"b"}'],
    ["a trailing comma", '{"model":"a",}'],
    ["a trailing comma in an array", '{"a":[1,]}'],
    ["a missing colon", '{"model" "a"}'],
    ["an unclosed object", '{"model":"a"'],
    ["an unclosed string", '{"model":"a'],
    ["a wrong closer", '{"a":[1}}'],
    ["a lone high surrogate", '{"model":"\\ud800"}'],
    ["a lone low surrogate", '{"model":"\\udc00"}'],
    ["surrogates in the wrong order", '{"a":"\\udc00\\ud800"}'],
    ["a NUL byte in a string", '{"model":"a\0"}'],
    ["a NUL byte behind the document", '{"model":"a"}\0'],
    ["a raw newline in a string", '{"model":"a\n"}'],
    ["a leading zero", '{"a":01}'],
    ["a bare minus", '{"a":-}'],
    ["a bare point", '{"a":1.}'],
    ["an empty exponent", '{"a":1e}'],
    ["a plus sign", '{"a":+1}'],
    ["NaN", '{"a":NaN}'],
    ["a bad escape", '{"a":"\\x41"}'],
    ["a short escape", '{"a":"\\u41"}'],
    ["single quotes", "{'model':'a'}"],
    ["a comment", '{"model":"a"/**/}'],
    ["a cut literal", '{"a":tru}'],
  ])("refuses %s", (_, text) => {
    expect(scan(text).ok).toBe(false);
  });

  it("refuses bytes that are not UTF-8", () => {
    expect(scanJson(Buffer.from('{"model":"\xff"}', "latin1"), "model").ok).toBe(false);
  });

  it("takes 64 levels and refuses 65", () => {
    const nested = (levels: number) => `{"a":${"[".repeat(levels - 1)}${"]".repeat(levels - 1)}}`;
    expect(scan(nested(64)).ok).toBe(true);
    expect(scan(nested(65))).toMatchObject({ ok: false, problem: "more than 64 levels" });
    expect(scan("[".repeat(1_000_000)).ok).toBe(false);
    expect(scan(`{"a":${"[".repeat(1_000_000)}`).ok).toBe(false);
  });

  /** Documents with and without the member, pretty-printed or not, some text escaped. */
  const document = fc
    .tuple(
      fc.dictionary(
        fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom("model ", "mode", "streams")),
        fc.jsonValue(),
        {
          maxKeys: 6,
        },
      ),
      fc.option(fc.oneof(fc.string({ unit: "grapheme" }), fc.jsonValue()), { nil: undefined }),
      fc.option(fc.boolean(), { nil: undefined }),
      fc.integer({ min: 0, max: 3 }),
      fc.boolean(),
    )
    .map(([members, model, stream, indent, ascii]) => {
      const entries = Object.entries(members).filter(
        ([key]) => !["model", "stream"].includes(key.toUpperCase().toLowerCase()),
      );
      if (model !== undefined) entries.splice(Math.floor(entries.length / 2), 0, ["model", model]);
      if (stream !== undefined) entries.push(["stream", stream]);
      const text = JSON.stringify(Object.fromEntries(entries), null, indent);
      const escaped = text.replace(/[\u0080-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
      return ascii ? escaped : text;
    })
    .filter((text) => text.isWellFormed() && !/\\ud[89a-f]/i.test(text.replace(/\\ud[89ab]..\\ud[c-f]../gi, "")));

  it("agrees with JSON.parse on valid documents", () => {
    fc.assert(
      fc.property(document, (text) => {
        const parsed = JSON.parse(text);
        const result = scan(text);
        expect(result.ok).toBe(true);
        if (!result.ok) return;
        expect(result.value).toBe(typeof parsed.model === "string" ? parsed.model : undefined);
        expect(result.otherType).toBe("model" in parsed && typeof parsed.model !== "string");
        expect(result.stream).toBe(parsed.stream === true);
      }),
      { numRuns: 500 },
    );
  });

  it("measures a span whose replacement changes the model and nothing else", () => {
    fc.assert(
      fc.property(document, fc.stringMatching(/^[a-z0-9/.-]{1,20}$/), (text, name) => {
        const result = scan(text);
        if (!result.ok || result.span === undefined) return;
        const body = bytes(text);
        const { offset, length } = result.span;
        const spliced = Buffer.concat([
          body.subarray(0, offset),
          bytes(JSON.stringify(name)),
          body.subarray(offset + length),
        ]);
        expect(JSON.parse(spliced.toString())).toEqual({ ...JSON.parse(text), model: name });
      }),
      { numRuns: 500 },
    );
  });

  it("accepts no document that JSON.parse refuses, whatever is done to its bytes", () => {
    const edit = fc.tuple(
      fc.nat(),
      fc.constantFrom(...'{}[]",:\\ue0-.1tfn /\n\0'),
      fc.constantFrom("put", "insert", "cut"),
    );
    let accepted = 0;
    fc.assert(
      fc.property(document, fc.array(edit, { minLength: 1, maxLength: 3 }), (text, edits) => {
        for (const [position, char, how] of edits) {
          const at = position % (text.length + 1);
          text = text.slice(0, at) + (how === "cut" ? "" : char) + text.slice(how === "insert" ? at : at + 1);
        }
        const result = scan(text.toWellFormed());
        if (!result.ok) return;
        accepted++;
        const parsed = JSON.parse(text.toWellFormed());
        expect(result.value).toBe(typeof parsed.model === "string" ? parsed.model : undefined);
      }),
      { numRuns: 2000 },
    );
    expect(accepted).toBeGreaterThan(0);
  });
});
