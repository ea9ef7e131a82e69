import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HeaderMapSchema } from "../protos/gen/envoy/config/core/v3/base_pb.ts";
import { decodeHeaderValue, KEPT_HEADER, WireHeaders } from "./headers.ts";

function read(pairs: readonly (readonly [string, string])[]): WireHeaders {
  const headers = pairs.map(([key, value]) => ({ key, rawValue: Buffer.from(value, "latin1") }));
  const bytes = Buffer.from(toBinary(HeaderMapSchema, create(HeaderMapSchema, { headers })));
  const read = new WireHeaders();
  if (!read.read(bytes, new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0, bytes.length))
    throw new Error("not read");
  return read;
}

describe("WireHeaders", () => {
  it("keeps repeated headers apart, in order, under the lower-case name", () => {
    const { fields } = read([
      ["x-role", "user"],
      ["X-Role", "admin"],
      ["x-role", "a, b"],
    ]);
    expect([...fields]).toEqual([["x-role", ["user", "admin", "a, b"]]]);
  });

  it("keeps pseudo headers out of the fields, and drops one that stands twice", () => {
    const headers = read([
      [":path", "/a"],
      [":authority", "one"],
      [":authority", "two"],
      ["x", ""],
    ]);
    expect(headers.pseudo(":path")).toBe("/a");
    expect(headers.pseudo(":authority")).toBeUndefined();
    expect([...headers.fields]).toEqual([["x", [""]]]);
    expect(headers.get("x")).toEqual([""]);
    expect(headers.get(":path")).toBeUndefined();
  });
});

describe("WireHeaders.onlyIndex", () => {
  const kept = [
    [":path", KEPT_HEADER.path],
    [":method", KEPT_HEADER.method],
    [":scheme", KEPT_HEADER.scheme],
    ["api-key", KEPT_HEADER.apiKey],
    ["x-api-key", KEPT_HEADER.xApiKey],
    [":authority", KEPT_HEADER.authority],
    ["content-type", KEPT_HEADER.contentType],
    ["authorization", KEPT_HEADER.authorization],
  ] as const;

  it.each(kept)("finds %s in whatever case, and not what only looks like it", (name, header) => {
    const upper = name.toUpperCase();
    const mixed = [...name].map((char, at) => (at % 2 === 0 ? char : char.toUpperCase())).join("");
    const none = [`${name}x`, name.slice(1), `x${name}`];
    // With another byte at each place; the one without its case bit, too, which small and capital letters differ by.
    for (let at = 0; at < name.length; at += 1) {
      const code = name.charCodeAt(at);
      for (const other of [code ^ 1, code & ~0x20]) {
        const changed = name.slice(0, at) + String.fromCharCode(other) + name.slice(at + 1);
        if (changed.toLowerCase() !== name) none.push(changed);
      }
    }
    for (const other of none) expect([other, read([[other, "v"]]).onlyIndex(header)]).toEqual([other, -1]);
    for (const same of [name, upper, mixed]) {
      expect(
        read([
          ["x-first", "v"],
          [same, "v"],
        ]).onlyIndex(header),
      ).toBe(1);
      expect(
        read([
          [same, "v"],
          ["x-between", ""],
          [name, "w"],
        ]).onlyIndex(header),
      ).toBe(-2);
    }
  });
});

describe("WireHeaders, whatever the lengths", () => {
  const length = fc.constantFrom(0, 1, 117, 118, 127, 128, 129, 16_383, 16_384, 20_000);

  it("reads as many headers as there are", () => {
    fc.assert(
      fc.property(fc.array(length, { maxLength: 200 }), length, (lengths, nameLength) => {
        const pairs = lengths.map((each, index) => [`x-${index}`, "v".repeat(each)] as const);
        const name = `N${"n".repeat(nameLength)}`;
        const headers = read([...pairs, [name, "named"]]);
        expect(headers.count).toBe(lengths.length + 1);
        expect(headers.get(name.toLowerCase())).toEqual(["named"]);
        for (const [index, each] of lengths.entries()) expect(headers.get(`x-${index}`)?.[0]?.length).toBe(each);
      }),
      { numRuns: 30 },
    );
  });

  it("finds no header by a part of its name", () => {
    const headers = read([["x-role", "admin"]]);
    for (const name of ["x-rol", "x-roles", "-role", ""]) expect(headers.get(name)).toBeUndefined();
  });
});

describe("decodeHeaderValue", () => {
  it("marks bytes that are not UTF-8 and keeps the rest", () => {
    expect(decodeHeaderValue(Buffer.from("admin\xff", "latin1"))).toBe("admin\udcff");
    expect(decodeHeaderValue(Buffer.from("é\xc3", "latin1"))).toBe("\udce9\udcc3");
    expect(decodeHeaderValue(Buffer.concat([Buffer.from("é"), Buffer.from([0x80])]))).toBe("é\udc80");
  });

  it("gives different text for different bytes", () => {
    const bytes = fc.uint8Array({ maxLength: 6 }).map((array) => Buffer.from(array));
    fc.assert(
      fc.property(bytes, bytes, (a, b) => {
        expect(decodeHeaderValue(a) === decodeHeaderValue(b)).toBe(a.equals(b));
      }),
      { numRuns: 1000 },
    );
  });

  it("never gives text that a rule can be written with to bytes that are not UTF-8", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 8 }), (array) => {
        const bytes = Buffer.from(array);
        const text = decodeHeaderValue(bytes);
        expect(text.isWellFormed()).toBe(Buffer.from(text).equals(bytes));
      }),
    );
  });
});
