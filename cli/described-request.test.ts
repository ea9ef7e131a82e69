import { expect, test } from "vitest";
import { describeRequest, type RequestDescription } from "./described-request.ts";

const url = "http://localhost:10000/a?b=c";

test("takes a body for a POST of JSON", async () => {
  const request = await describeRequest({ url, header: ["X-A: 1", "x-a:2"], body: "{}", apiKey: "k" });
  expect(request.method).toBe("POST");
  expect(Object.fromEntries(request.headers)).toEqual({
    "x-a": ["1", "2"],
    "content-type": ["application/json"],
    authorization: ["Bearer k"],
  });
  expect((await describeRequest({ url, header: [] })).method).toBe("GET");
});

test("takes claims for those of a verified token", async () => {
  const { claims, headers } = await describeRequest({ url, header: [], claims: '{"iss":"https://id"}' });
  expect(claims).toEqual({ iss: "https://id" });
  expect(headers.get("authorization")?.[0]).toMatch(/^Bearer [\w-]+\.[\w-]+\.$/);
});

test.each<[Partial<RequestDescription>, string, string]>([
  [{ url: "nope" }, "invalid-argument", "is no URL"],
  [{ url: "ftp://host/" }, "invalid-argument", "is no URL"],
  [{ header: ["nonsense"] }, "invalid-argument", "is no header"],
  [{ claims: "[]" }, "invalid-argument", "must be a JSON object"],
  [{ claims: "{" }, "invalid-argument", "are not JSON"],
  [{ body: "@/nonexistent" }, "not-found", "cannot be read"],
])("refuses %j", async (description, code, message) => {
  const described = describeRequest({ url, header: [], ...description });
  await expect(described).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
});
