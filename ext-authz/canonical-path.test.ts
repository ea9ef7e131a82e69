import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalPath, queryValues } from "./canonical-path.ts";

const latin1 = (text: string) => Buffer.from(text, "utf8").toString("latin1");

describe("canonicalPath", () => {
  it.each([
    ["/", "/", ""],
    ["/admin", "/admin", ""],
    ["/%61dmin", "/admin", ""],
    ["/a/b/?x=1&y=%2f..;#".replace("#", ""), "/a/b/", "x=1&y=%2f..;"],
    ["/a?b?c", "/a", "b?c"],
    ["/my%20docs", "/my docs", ""],
    ["/100%25", "/100%", ""],
    ["/admin.", "/admin.", ""],
    ["/...", "/...", ""],
    ["/.well-known/x", "/.well-known/x", ""],
    ["/a..b/c", "/a..b/c", ""],
    ["/Admin", "/Admin", ""],
    ["/caf%C3%A9", "/café", ""],
    [latin1("/café"), "/café", ""],
    ["/a%3Fb", "/a?b", ""],
  ])("reads %s as %s", (target, path, query) => {
    expect(canonicalPath(target)).toEqual({ ok: true, path, query });
  });

  it("keeps double-encoded dots and slashes literal", () => {
    expect(canonicalPath("/%252e%252e%252fadmin")).toEqual({ ok: true, path: "/%2e%2e%2fadmin", query: "" });
  });

  it.each([
    "",
    "*",
    "admin",
    "http://evil/admin",
    "foo:80",
    "/admin#x",
    "/a?x#y",
    "//admin",
    "///admin/x",
    "/a//b",
    "/public/../admin",
    "/public/%2e%2e/admin",
    "/public/.%2E/admin",
    "/admin/.",
    "/admin/..",
    "/./admin",
    "/a/%2e%2e;/b",
    "/..;/admin",
    "/;/admin",
    "/admin;a=b",
    "/admin%3Ba=b",
    "/app\\admin",
    "/app/\\/\\admin",
    "/admin%2Fsecret",
    "/admin%2fsecret",
    "/admin%5csecret",
    "/admin%00",
    "/admin%0a",
    "/admin%7f",
    "/a b",
    "/a\tb",
    "/%zz",
    "/%",
    "/%4",
    "/%c0%ae%c0%ae/admin",
    "/%c0%2fadmin",
    "/\xff",
    "/%ed%a0%80",
  ])("refuses %j", (target) => {
    expect(canonicalPath(target).ok).toBe(false);
  });

  it("gives every spelling of a path the same form, or none", () => {
    const segment = fc.stringMatching(/^[a-zA-Z0-9_~éß-]{1,8}$/);
    fc.assert(
      fc.property(
        fc.array(segment, { minLength: 1, maxLength: 4 }),
        fc.infiniteStream(fc.boolean()),
        (segments, coin) => {
          const plain = `/${segments.join("/")}`;
          const spelled = [...latin1(plain)]
            .map((char) => {
              if (char === "/" || coin.next().value !== true) return char;
              return `%${char.charCodeAt(0).toString(16).padStart(2, "0")}`;
            })
            .join("");
          expect(canonicalPath(spelled)).toEqual({ ok: true, path: plain, query: "" });
        },
      ),
    );
  });

  it("never lets through what a second decoder would walk up with", () => {
    const piece = fc.constantFrom("a", ".", "..", "/", "%2e", "%2E", "%2f", "%5c", "\\", ";", "%3b", "%00", "\xc0\xae");
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const result = canonicalPath(`/${pieces.join("")}`);
        if (!result.ok) return;
        expect(new URL(`http://h${result.path}`).pathname).toBe(result.path);
        expect(result.path).not.toMatch(/[;\\\0]/);
      }),
    );
  });
});

describe("queryValues", () => {
  it.each([
    ["model=a", ["a"]],
    ["x=1&model=a%2Fb&model=c+d", ["a/b", "c d"]],
    ["%6dodel=a&model=b", ["a", "b"]],
    ["model", [""]],
    ["", []],
    ["Model=a", []],
  ])("finds in %s the values %j", (query, values) => {
    expect(queryValues(query, "model")).toEqual(values);
  });

  it.each(["model=a;model=b", "model=%zz", "%ff=1"])("does not read %s", (query) => {
    expect(queryValues(query, "model")).toBeUndefined();
  });
});
