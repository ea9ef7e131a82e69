import { describe, expect, it } from "vitest";
import { APPLICATION, clean, onlyProblem, said, yaml } from "../fixtures.ts";

const NOW = 'now: "2026-06-01T00:00:00Z"';

function policyTest(spec: string): Readonly<Record<string, string>> {
  return { "a.yaml": APPLICATION, "team/t.yaml": yaml("PolicyTest", "t", `${NOW}\n${spec}`) };
}

describe("PolicyTest", () => {
  it("is a case for each fixture, the case's own words over the fixture's over the document's", () => {
    const { inventory } = clean(
      policyTest(`request:
  application: assistant
  path: /v1/chat
  headers: { x-team: red, x-role: [a, b] }
  subject: { claims: { iss: x, sub: u1 } }
fixtures:
  eu: { headers: { x-team: blue }, subject: { fields: { region: EU } } }
  us: { subject: { fields: { region: US }, claims: { sub: u2 } } }
cases:
  - name: both
    fixtures: [eu, us]
    request: { model: atlas }
    expect: { effect: allow, targets: [d1] }
  - name: neither
    now: "2027-01-01T00:00:00Z"
    draw: 0.5
    expect: { effect: deny, code: denied, removed: { d1: some/rule } }`),
    );
    const [test] = inventory.policyTests;
    expect(test?.cases).toMatchObject([
      {
        name: "both",
        fixture: "eu",
        index: 0,
        now: "2026-06-01T00:00:00Z",
        draw: 0,
        request: {
          application: "assistant",
          path: "/v1/chat",
          model: "atlas",
          stream: false,
          source: "127.0.0.1",
          headers: { "x-team": ["blue"], "x-role": ["a", "b"] },
          subject: { fields: { region: "EU" }, claims: { iss: "x", sub: "u1" } },
        },
      },
      { fixture: "us", request: { subject: { fields: { region: "US" }, claims: { iss: "x", sub: "u2" } } } },
      {
        name: "neither",
        index: 1,
        now: "2027-01-01T00:00:00Z",
        draw: 0.5,
        request: { headers: { "x-team": ["red"] } },
      },
    ]);
    expect(test?.cases[2]).not.toHaveProperty("fixture");
  });

  it("says which fixture there is not", () => {
    const problem = onlyProblem(
      policyTest(`request: { application: assistant }
fixtures: { eu: {} }
cases:
  - name: a
    fixtures: [▸us]
    expect: { effect: allow }`),
    );
    expect(said(problem)).toEqual({ code: "dangling-reference", message: 'no fixture "us"', hint: "there are eu" });
  });

  it("needs an application for every case", () => {
    const problem = onlyProblem(policyTest("cases:\n  - ▸name: a\n    expect: { effect: allow }"));
    expect(said(problem)).toMatchObject({ code: "missing-field", message: 'case "a" names no application' });
  });

  it.each([
    ["{ effect: allow, code: ▸denied }", "an allow has no code"],
    ["{ effect: deny, targets: ▸[x] }", "a denial has no targets"],
  ])("refuses an expectation that cannot be met: %s", (expectation, message) => {
    const problem = onlyProblem(
      policyTest(`request: { application: assistant }\ncases:\n  - name: a\n    expect: ${expectation}`),
    );
    expect(said(problem)).toMatchObject({ code: "conflict", message });
  });

  it("does not take an application that does not exist", () => {
    const problem = onlyProblem(
      policyTest("request: { application: ▸asistant }\ncases:\n  - name: a\n    expect: { effect: allow }"),
    );
    expect(said(problem)).toMatchObject({ code: "dangling-reference", hint: 'did you mean "assistant"?' });
  });
});
