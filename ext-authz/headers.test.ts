import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HeaderMapSchema } from "../protos/gen/envoy/config/core/v3/base_pb.ts";
import { decodeHeaderValue, type RequestHeaders, WireHeaders } from "./headers.ts";

function read(pairs: readonly (readonly [string, string])[]): RequestHeaders {
  const headers = pairs.map(([key, value]) => ({ key, rawValue: Buffer.from(value, "latin1") }));
  const bytes = Buffer.from(toBinary(HeaderMapSchema, create(HeaderMapSchema, { headers })));
  const read = new WireHeaders();
  if (!read.read(bytes, 0, bytes.length)) throw new Error("not read");
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
