import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Answer, encodeAnswer, plainText } from "./answer.ts";
import { DENIALS, type DenialCode } from "./denials.ts";
import { decodeAnswer } from "./fixtures.ts";

const CODES = Object.keys(DENIALS) as DenialCode[];
const refuse = (changes: Partial<Answer & { kind: "refuse" }> = {}): Answer => ({
  kind: "refuse",
  decisionId: "d1",
  code: "denied",
  rule: "r",
  message: "no",
  metadata: { decision: "deny" },
  ...changes,
});
const hex = (answer: Answer) => Buffer.from(encodeAnswer(answer)).toString("hex");
const text = (value: string) => Buffer.from(value).toString("hex");
/** Protobuf length-delimited field, by hand: the golden bytes are not made by the code that they check. */
const field = (number: number, content: string) => {
  const size = content.length / 2;
  const length = size < 128 ? [size] : [(size & 127) | 128, size >> 7];
  return Buffer.from([(number << 3) | 2, ...length]).toString("hex") + content;
};
const header = (key: string, value: string) => field(1, field(1, text(key)) + field(2, text(value)));
const struct = (key: string, value: string) => field(1, field(1, text(key)) + field(2, field(3, text(value))));

describe("encodeAnswer, byte for byte", () => {
  it("allows with status 0, one header, and the decision in metadata", () => {
    const status = field(1, "");
    const ok = field(3, field(2, header("x-chancery-decision", "d1")) + field(5, text("x-api-key")));
    const metadata = field(4, struct("decision", "allow"));
    expect(
      hex({ kind: "allow", decisionId: "d1", headersToRemove: ["x-api-key"], metadata: { decision: "allow" } }),
    ).toBe(status + ok + metadata);
  });

  it("refuses with status 7 and a denied_response", () => {
    const body =
      '{"error":{"message":"no","type":"permission_error","param":null,"code":"denied","decision_id":"d1","rule":"r"}}';
    const denied =
      field(1, "089303") +
      field(2, header("content-type", "application/json")) +
      field(2, header("x-chancery-decision", "d1")) +
      field(3, text(body));
    expect(hex(refuse())).toBe(field(1, "0807") + field(2, denied) + field(4, struct("decision", "deny")));
  });

  it("fails with status 14 and an error_response of 503", () => {
    const body =
      '{"error":{"message":"no","type":"server_error","param":null,"code":"internal","decision_id":"d1","rule":null}}';
    const failed =
      field(1, "08f703") +
      field(2, header("content-type", "application/json")) +
      field(2, header("x-chancery-decision", "d1")) +
      field(3, text(body));
    expect(hex(refuse({ code: "internal", rule: "" }))).toBe(
      field(1, "080e") + field(4, struct("decision", "deny")) + field(5, failed),
    );
  });

  it("answers a gRPC call in trailers-only form", () => {
    const denied =
      field(1, "08c801") +
      field(2, header("content-type", "application/grpc")) +
      field(2, header("grpc-status", "16")) +
      field(2, header("grpc-message", "n%C3%B6%25 (invalid_token, decision d1)")) +
      field(2, header("www-authenticate", "Bearer")) +
      field(2, header("x-chancery-decision", "d1"));
    expect(hex(refuse({ code: "invalid_token", message: "nö%", grpc: "application/grpc" }))).toBe(
      field(1, "0807") + field(2, denied) + field(4, struct("decision", "deny")),
    );
  });

  it("replies itself with status 7 and HTTP 200", () => {
    const denied =
      field(1, "08c801") +
      field(2, header("content-type", "application/json")) +
      field(2, header("x-chancery-decision", "d1")) +
      field(3, text("[]"));
    expect(hex({ kind: "reply", decisionId: "d1", json: "[]", metadata: {} })).toBe(
      field(1, "0807") + field(2, denied) + field(4, ""),
    );
  });
});

describe("encodeAnswer", () => {
  const answer = fc.oneof(
    fc
      .record({
        code: fc.constantFrom(...CODES),
        message: fc.string({ unit: "binary" }),
        rule: fc.string(),
        grpc: fc.constantFrom(undefined, "application/grpc", "application/grpc-web+proto"),
      })
      .map(({ grpc, ...changes }) => refuse(grpc === undefined ? changes : { ...changes, grpc })),
    fc.json().map((json): Answer => ({ kind: "reply", decisionId: "d1", json, metadata: {} })),
    fc.constant<Answer>({ kind: "allow", decisionId: "d1", headersToRemove: [], metadata: {} }),
  );

  it("never gives Envoy one of the answers that it takes for an allow by mistake", () => {
    fc.assert(
      fc.property(answer, (given) => {
        const { status, httpResponse } = decodeAnswer(encodeAnswer(given));
        if (given.kind === "allow") {
          expect([status?.code, httpResponse.case]).toEqual([0, "okResponse"]);
        } else {
          expect([7, 14]).toContain(status?.code);
          expect(["deniedResponse", "errorResponse"]).toContain(httpResponse.case);
        }
      }),
    );
  });

  it("writes only header values that Envoy takes, whatever the reason says", () => {
    fc.assert(
      fc.property(answer, (given) => {
        const { httpResponse } = decodeAnswer(encodeAnswer(given));
        const headers = httpResponse.case === undefined ? [] : httpResponse.value.headers;
        for (const option of headers) expect(option.header?.value).toMatch(/^[\x20-\x7e]*$/);
      }),
    );
  });

  it.each(CODES)("gives %s the shape that its status asks for", (code) => {
    const { httpResponse } = decodeAnswer(encodeAnswer(refuse({ code })));
    if (httpResponse.case !== "deniedResponse" && httpResponse.case !== "errorResponse") throw new Error("no refusal");
    const { status } = DENIALS[code];
    expect(httpResponse.value.status?.code).toBe(status);
    expect(httpResponse.case).toBe(status === 503 ? "errorResponse" : "deniedResponse");
    const names = httpResponse.value.headers.map((option) => option.header?.key);
    expect(names.includes("www-authenticate")).toBe(status === 401);
    expect(JSON.parse(httpResponse.value.body)).toMatchObject({ error: { code, decision_id: "d1", rule: "r" } });
  });
});

describe("plainText", () => {
  it("is one line of at most 500 characters", () => {
    expect(plainText("a\r\nset-cookie: x\u2028\0b")).toBe("a set-cookie: x b");
    expect(plainText("\ud800x")).toBe("\ufffdx");
    expect(plainText("x".repeat(600))).toBe(`${"x".repeat(499)}…`);
    expect(plainText("😀".repeat(300)).isWellFormed()).toBe(true);
  });
});
