import { expect, test } from "vitest";
import { TYPE_URLS } from "../envoy/index.ts";
import { referencesOf } from "./references.ts";
import { cluster, listener } from "./session-driver.ts";

const plain = (resource: Parameters<typeof referencesOf>[0]) =>
  Object.fromEntries([...referencesOf(resource)].map(([typeUrl, names]) => [typeUrl, [...names]]));

test("a cluster refers to its endpoints and to the secrets of its transport socket", () => {
  expect(plain(cluster("a", "1", ["key"]))).toEqual({ [TYPE_URLS.endpoint]: ["a"], [TYPE_URLS.secret]: ["key"] });
});

test("a listener refers to its routes and to the extension configs of its filters", () => {
  expect(plain(listener("l", "1", { route: "main", extensionConfigs: ["jwt"] }))).toEqual({
    [TYPE_URLS.route]: ["main"],
    [TYPE_URLS.extensionConfig]: ["jwt"],
  });
});

test("bytes that are no message and types that are not known refer to nothing", () => {
  const value = Buffer.from([0xff, 0xff]);
  expect(plain({ typeUrl: TYPE_URLS.cluster, name: "x", version: "1", value })).toEqual({});
  expect(plain({ typeUrl: "type.googleapis.com/acme.Unknown", name: "x", version: "1", value })).toEqual({});
});
