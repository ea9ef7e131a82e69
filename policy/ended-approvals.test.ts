import { expect, test } from "vitest";
import { withoutEnded } from "./ended-approvals.ts";
import { NOW, program } from "./fixtures.ts";

const approval = (key: string, validUntil?: string) => ({
  ...{ key, version: "m@1", application: "chat", jurisdictions: [] },
  ...(validUntil === undefined ? {} : { validUntil }),
});

test("leaves out what had ended, in whatever offset it is written, and nothing else", () => {
  const approvals = [
    approval("endless"),
    approval("just-over", "2026-11-21T12:00:00Z"),
    approval("over-elsewhere", "2026-11-22T01:59:59+14:00"),
    approval("not-yet", "2026-11-21T12:00:00.001Z"),
    approval("not-yet-elsewhere", "2026-11-21T00:00:01-12:00"),
    approval("long", "2027-06-01T00:00:00Z"),
  ];
  const keys = (at: number) => withoutEnded(program({ approvals }), at).approvals.map(({ key }) => key);
  expect(keys(NOW)).toEqual(["endless", "not-yet", "not-yet-elsewhere", "long"]);
  expect(keys(Number.NaN)).toHaveLength(approvals.length);
});

test("is the same program where nothing had ended", () => {
  const whole = program({ approvals: [approval("long", "2027-06-01T00:00:00Z")] });
  expect(withoutEnded(whole, NOW)).toBe(whole);
});
