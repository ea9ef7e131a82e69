import { expect, test } from "vitest";
import { formatAddress, isLocal, parseAddress } from "./address.ts";

test.each([
  ["9191", "127.0.0.1:9191", true],
  ["0.0.0.0:80", "0.0.0.0:80", false],
  ["[::1]:80", "[::1]:80", true],
  ["localhost:0", "localhost:0", true],
  ["authz.internal:9191", "authz.internal:9191", false],
])("reads %s", (text, formatted, local) => {
  const address = parseAddress(text);
  expect(formatAddress(address)).toBe(formatted);
  expect(isLocal(address)).toBe(local);
});

test.each(["", "host", "host:", ":80", "host:65536", "::1:80", "http://host:80", "host:80/x"])("refuses %j", (text) => {
  expect(() => parseAddress(text)).toThrow("is not an address");
});
