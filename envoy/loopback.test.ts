import { expect, test } from "vitest";
import { hostOf, isLoopback } from "./loopback.ts";

test.each(["127.0.0.1", "127.3.2.1", "::1", "[::1]", "localhost"])("%s is of this machine", (host) => {
  expect(isLoopback(host)).toBe(true);
});

test.each(["0.0.0.0", "::", "10.0.0.1", "127.0.0.1.example.com", "127.0.0.999", "localhost.example.com", ""])(
  "%s is not",
  (host) => {
    expect(isLoopback(host)).toBe(false);
  },
);

test.each([
  ["127.0.0.1:80", "127.0.0.1"],
  ["[::1]:80", "::1"],
  ["[::1]", "::1"],
  ["localhost", "localhost"],
])("the host of %s is %s", (authority, host) => {
  expect(hostOf(authority)).toBe(host);
});
