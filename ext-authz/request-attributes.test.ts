import { describe, expect, it } from "vitest";
import { type CheckParts, check, NOW } from "./fixtures.ts";
import { canonicalHost, readMetadata, readRequest } from "./request-attributes.ts";

describe("readRequest", () => {
  it("gives rules what Envoy matched, in canonical form", () => {
    const reading = readRequest(
      check({
        method: "GET",
        scheme: "HTTPS",
        host: "AI.Example.com.:8443",
        path: "/%61dmin?x=%61&x=2",
        headers: [
          ["X-Role", "user"],
          ["x-role", "admin"],
        ],
      }),
      NOW,
    );
    if (!reading.ok) throw new Error(reading.code);
    // What rules seldom read is read when they do.
    const { headers, id, protocol, size, time } = reading.request;
    expect({ ok: reading.ok, request: { ...reading.request, headers, id, protocol, size, time } }).toEqual({
      ok: true,
      request: {
        method: "GET",
        scheme: "https",
        host: "ai.example.com",
        path: "/%61dmin?x=%61&x=2",
        url_path: "/admin",
        query: "x=%61&x=2",
        protocol: "HTTP/1.1",
        id: "4711",
        size: 0,
        time: NOW + 5,
        headers: new Map([["x-role", ["user", "admin"]]]),
      },
    });
  });

  it.each<[string, CheckParts]>([
    ["ambiguous_path", { path: "/a/..;/b" }],
    ["ambiguous_path", { path: "*", method: "OPTIONS" }],
    ["ambiguous_path", { path: "/\xff" }],
    ["ambiguous_path", { path: "ai.example.com:443", method: "CONNECT" }],
    ["malformed_request", { method: "CONNECT" }],
    ["malformed_request", { method: "get" }],
    ["malformed_request", { method: "GE T" }],
    ["malformed_request", { method: "" }],
    ["malformed_request", { scheme: "ftp" }],
    ["malformed_request", { host: "" }],
    ["malformed_request", { host: "user@example.com" }],
    ["malformed_request", { headers: [[":authority", "other.example"]] }],
    ["malformed_request", { headers: [[":method", "DELETE"]] }],
    ["ambiguous_path", { headers: [[":path", "/other"]] }],
  ])("refuses with %s: %j", (code, parts) => {
    expect(readRequest(check(parts), NOW)).toMatchObject({ ok: false, code });
  });
});

describe("canonicalHost", () => {
  it.each([
    ["Httpbin.Foo", "httpbin.foo"],
    ["a.example.:80", "a.example"],
    ["127.0.0.1:8080", "127.0.0.1"],
    ["[::1]:80", "[::1]"],
    ["[2001:DB8::1]", "[2001:db8::1]"],
    ["a_b.example", "a_b.example"],
    ["", undefined],
    [".", undefined],
    ["a..b", undefined],
    ["a:b", undefined],
    ["a,b", undefined],
    ["a b", undefined],
    ["a/b", undefined],
    ["a@b", undefined],
    ["a:80:80", undefined],
    ["\xe9.example", undefined],
  ])("reads %j as %j", (authority, host) => {
    expect(canonicalHost(authority)).toBe(host);
  });
});

describe("readMetadata", () => {
  it("takes claims, and nothing from a failure", () => {
    expect(readMetadata(check({ failed: { code: 26, message: "no" } }))?.claims).toBeUndefined();
    const both = check({ claims: { iss: "i" }, failed: { code: 24, message: "another provider" } });
    expect(readMetadata(both)?.claims).toEqual({ iss: "i" });
  });
});
