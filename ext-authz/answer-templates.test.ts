import fc from "fast-check";
import { expect, test } from "vitest";
import { type Answer, encodeAnswer } from "./answer.ts";
import { AnswerTemplates } from "./answer-templates.ts";
import { DENIALS, type DenialCode } from "./denials.ts";

const text = fc.string({ unit: "grapheme", maxLength: 20 });
const decisionId = fc.oneof(fc.uuid(), fc.constantFrom("d1", "", "ä", "x".repeat(36), "0".repeat(36), "a\nb"));
const answer: fc.Arbitrary<(decisionId: string) => Answer> = fc
  .record({
    kind: fc.constantFrom("allow", "refuse", "reply"),
    code: fc.constantFrom(...(Object.keys(DENIALS) as DenialCode[])),
    rule: text,
    message: text,
    grpc: fc.boolean(),
    legal: fc.array(text, { maxLength: 3 }),
    key: fc.boolean(),
  })
  .map(({ kind, code, rule, message, grpc, legal, key }) => (id: string): Answer => {
    const metadata = { decision: kind, decision_id: id, rule, legal };
    if (kind === "allow") {
      return { kind, decisionId: id, headersToRemove: key ? ["x-api-key"] : [], metadata };
    }
    if (kind === "reply") return { kind, decisionId: id, json: JSON.stringify({ message }), metadata };
    const refusal = { kind: "refuse", decisionId: id, code, rule, message, metadata } as const;
    return grpc ? { ...refusal, grpc: "application/grpc" } : refusal;
  });

test("an answer from a template is the answer, whatever ids come", () => {
  fc.assert(
    fc.property(answer, fc.array(decisionId, { minLength: 2, maxLength: 5 }), (make, ids) => {
      const templates = new AnswerTemplates();
      const verdict = {};
      for (const id of ids) {
        const encoded = templates.encode(verdict, "", id, make);
        expect(Buffer.from(encoded).equals(encodeAnswer(make(id)))).toBe(true);
      }
    }),
  );
});
