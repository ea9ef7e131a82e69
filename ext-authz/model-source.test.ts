import { describe, expect, it } from "vitest";
import type { ModelSource } from "../resources/index.ts";
import type { Check } from "./check-request.ts";
import { type CheckParts, check, NOW } from "./fixtures.ts";
import { type ModelReading, modelReader } from "./model-source.ts";
import { readRequest } from "./request-attributes.ts";

function read(source: ModelSource, parts: CheckParts): ModelReading {
  const asked = check(parts);
  const reading = readRequest(asked, NOW);
  const reader = modelReader(source);
  if (!reading.ok || reader === undefined) throw new Error("not readable");
  return reader(asked, reading.request);
}

const BODY: ModelSource = { type: "body", pointer: "/model" };
const body = (text: string | Uint8Array, headers: CheckParts["headers"] = [["content-type", "application/json"]]) =>
  read(BODY, { body: text, headers });

describe("a model named in the body", () => {
  it("is read with its span and whether a stream is wanted", () => {
    expect(body('{"model":"chat","stream":true}')).toEqual({
      ok: true,
      name: "chat",
      span: { offset: 9, length: 6 },
      stream: true,
    });
  });

  it.each([
    ["application/json"],
    ["application/json; charset=utf-8"],
    ['Application/JSON ; Charset="UTF-8"'],
    ["application/vnd.acme+json"],
    ["application/json; charset=utf8; x=y"],
  ])("is read from %s", (type) => {
    expect(body('{"model":"chat"}', [["content-type", type]])).toMatchObject({ ok: true, name: "chat" });
  });

  it("is read from a body without a content type, and one that says identity", () => {
    expect(body('{"model":"chat"}', [])).toMatchObject({ ok: true });
    expect(body('{"model":"chat"}', [["content-encoding", "identity"]])).toMatchObject({ ok: true });
  });

  it("can stand under any top-level name", () => {
    const reading = read({ type: "body", pointer: "/a~1b~0c" }, { body: '{"a/b~c":"chat"}' });
    expect(reading).toMatchObject({ ok: true, name: "chat" });
    expect(modelReader({ type: "body", pointer: "/a/b" })).toBeUndefined();
    expect(modelReader({ type: "body", pointer: "" })).toBeUndefined();
  });

  it.each<[string, CheckParts]>([
    ["unsupported_body", { headers: [["content-type", "text/plain"]] }],
    ["unsupported_body", { headers: [["content-type", "text/plain, application/json"]] }],
    ["unsupported_body", { headers: [["content-type", "application/json; charset=utf-16"]] }],
    ["unsupported_body", { headers: [["content-type", "application/json; charset=utf-8; charset=utf-7"]] }],
    ["unsupported_body", { headers: [["content-type", "multipart/form-data; boundary=x"]] }],
    [
      "unsupported_body",
      {
        headers: [
          ["content-type", "application/json"],
          ["content-type", "application/json"],
        ],
      },
    ],
    ["unsupported_body", { headers: [["content-encoding", "gzip"]] }],
    ["unsupported_body", { headers: [["content-encoding", "identity, gzip"]] }],
    ["body_too_large", { headers: [["x-envoy-auth-partial-body", "true"]] }],
    ["body_too_large", { headers: [["content-length", "9000"]] }],
    ["body_too_large", { size: 9000 }],
    ["malformed_body", { body: "" }],
    ["malformed_body", { body: '{"model":"chat","model":"other"}' }],
    ["malformed_body", { body: Buffer.from([0x1f, 0x8b, 0x08]) }],
    ["model_missing", { body: "{}" }],
    ["model_missing", { body: '{"model":7}' }],
    ["model_missing", { body: '{"model":""}' }],
    ["ambiguous_model", { body: '{"model":"a\\nb"}' }],
    ["ambiguous_model", { body: '{"model":"a\\u0000"}' }],
    ["ambiguous_model", { body: JSON.stringify({ model: "x".repeat(257) }) }],
  ])("is refused with %s: %j", (code, parts) => {
    expect(read(BODY, { body: '{"model":"chat"}', ...parts })).toMatchObject({ ok: false, code });
  });

  it("is not read where the body came as text, whose offsets are not the body's", () => {
    const asked = check();
    const reading = readRequest(asked, NOW);
    if (!reading.ok) throw new Error("not read");
    const http = { ...asked.http, body: '{"model":"chat"}' };
    const text: Check = Object.create(asked, { http: { value: http } });
    expect(modelReader(BODY)?.(text, reading.request)).toMatchObject({ ok: false, code: "malformed_check" });
  });
});

describe("a model named elsewhere", () => {
  it.each<[ModelSource, CheckParts, object]>([
    [{ type: "route" }, {}, { ok: true, stream: false }],
    [{ type: "route" }, { headers: [["accept", "text/event-stream"]] }, { ok: true, stream: true }],
    [{ type: "header", header: "X-Model" }, { headers: [["x-model", "chat"]] }, { ok: true, name: "chat" }],
    [{ type: "header", header: "x-model" }, {}, { ok: false, code: "model_missing" }],
    [
      { type: "header", header: "x-model" },
      { headers: [["x-model", "a\xff"]] },
      { ok: false, code: "ambiguous_model" },
    ],
    [
      { type: "header", header: "x-model" },
      {
        headers: [
          ["x-model", "a"],
          ["x-model", "a"],
        ],
      },
      { ok: false, code: "ambiguous_model" },
    ],
    [{ type: "query", parameter: "model" }, { path: "/x?model=a%2Fb" }, { ok: true, name: "a/b" }],
    [{ type: "query", parameter: "model" }, { path: "/x?model=a&%6dodel=b" }, { ok: false, code: "ambiguous_model" }],
    [{ type: "query", parameter: "model" }, { path: "/x?model=a;b" }, { ok: false, code: "ambiguous_model" }],
    [{ type: "query", parameter: "model" }, { path: "/x" }, { ok: false, code: "model_missing" }],
    [{ type: "path", template: "/m/{model}/go" }, { path: "/m/ch%61t/go?x" }, { ok: true, name: "chat" }],
    [{ type: "path", template: "/m/{model}:go" }, { path: "/m/chat:go" }, { ok: true, name: "chat" }],
    [{ type: "path", template: "/m.x/{model}" }, { path: "/mxx/chat" }, { ok: false, code: "model_missing" }],
    [{ type: "path", template: "/m/{model}/go" }, { path: "/m/a/b/go" }, { ok: false, code: "model_missing" }],
  ])("%j in %j", (source, parts, expected) => {
    expect(read(source, parts)).toMatchObject(expected);
  });
});
