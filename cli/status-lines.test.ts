import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { GetStatusResponseSchema } from "../admin/index.ts";
import { formatStatus } from "./status.ts";

const DAY = 86_400_000;

test("keys that end soon are shown, others are not", () => {
  const end = Date.now() + 5.5 * DAY;
  const text = formatStatus(
    create(GetStatusResponseSchema, {
      keys: [
        { id: "aa", purposes: ["revision", "log"], notAfter: timestampFromMs(end), signsHere: true },
        { id: "bb", purposes: ["restriction"], notAfter: timestampFromMs(1_000) },
        { id: "cc", purposes: ["revision"], notAfter: timestampFromMs(Date.now() + 15 * DAY) },
      ],
    }),
  );
  const time = new Date(end).toISOString();
  expect(text).toContain(`key aa ends in 5 days: ${time}  (revision, log; signs here): chancery keys rotate\n`);
  expect(text).toContain("key bb has EXPIRED: 1970-01-01T00:00:01.000Z  (restriction)");
  expect(text).not.toContain("key cc");
});

test("a log is shown from four fifths of its capacity on", () => {
  const at = (entries: number) =>
    formatStatus(create(GetStatusResponseSchema, { operationalLog: { entries, capacity: 16_384, sequence: 20_000n } }));
  expect(at(13_107)).not.toContain("operational log");
  expect(at(13_108)).toContain("the operational log is 80 % full: 13108 of 16384 entries: chancery log compact\n");
  expect(at(16_384)).toContain("is FULL and takes revocations alone");
});
