import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseDocument, Scalar } from "yaml";
import { scalarOffsets } from "./scalar-offset.ts";

/** What stands in the source where the value has its characters. */
function seen(source: string, value: string): string {
  return scalarOffsets(source, value)
    .slice(0, -1)
    .map((offset) => source.charAt(offset))
    .join("");
}

describe("scalarOffsets", () => {
  it("is exact in plain and quoted scalars", () => {
    expect(seen("a == b", "a == b")).toBe("a == b");
    expect(scalarOffsets("'a ''b'' c'", "a 'b' c")).toEqual([1, 2, 3, 5, 6, 8, 9, 10]);
    expect(scalarOffsets('"a\\tb \\"c\\u0041"', 'a\tb "cA')).toEqual([1, 2, 4, 5, 6, 8, 9, 15]);
  });

  it("is exact line by line in a literal block", () => {
    const source = "|\n    a &&\n      b\n";
    const value = "a &&\n  b\n";
    const offsets = scalarOffsets(source, value);
    expect(source.charAt(offsets[value.indexOf("a")] ?? 0)).toBe("a");
    expect(source.charAt(offsets[value.indexOf("b")] ?? 0)).toBe("b");
    expect(offsets[0]).toBe(source.indexOf("a"));
  });

  it("skips the comment of a block header", () => {
    const source = ">- # abc\n  abc\n  d";
    const offsets = scalarOffsets(source, "abc d");
    expect(offsets[0]).toBe(source.lastIndexOf("abc"));
    expect(offsets[4]).toBe(source.indexOf("d", 10));
  });

  it("maps every visible character to itself, however the scalar is written", () => {
    const styles: Scalar.Type[] = [
      Scalar.PLAIN,
      Scalar.QUOTE_SINGLE,
      Scalar.QUOTE_DOUBLE,
      Scalar.BLOCK_FOLDED,
      Scalar.BLOCK_LITERAL,
    ];
    const text = fc.stringMatching(/^[a-c"'\\ \n|>#:é😀]{1,120}$/u);
    fc.assert(
      fc.property(text, fc.constantFrom(...styles), (value, style) => {
        const scalar = new Scalar(value);
        scalar.type = style;
        const document = parseDocument("key: x");
        document.set("key", scalar);
        const written = document.toString({ lineWidth: 40 });
        const parsed = parseDocument(written);
        const node = parsed.get("key", true);
        if (!(node instanceof Scalar) || node.range == null || node.value !== value) return;
        const source = written.slice(node.range[0], node.range[1]);
        const offsets = scalarOffsets(source, value);
        expect(offsets).toHaveLength(value.length + 1);
        for (const [index, character] of value.split("").entries()) {
          if (/[ \n]/.test(character)) continue;
          const found = source.charAt(offsets[index] ?? -1);
          // Double quotes escape: then the place of the escape is the place of the character.
          if (found !== "\\") expect(found).toBe(character);
        }
        expect(offsets.every((offset, index) => index === 0 || offset >= (offsets[index - 1] ?? 0))).toBe(true);
      }),
    );
  });
});
