import { z } from "zod";
import { complaint } from "./complaint.ts";
import { distinct, duration, formatted, wholeNumber } from "./fields.ts";
import { headerName } from "./route-filter.ts";

const DAY = 86_400_000;

const modelName = formatted(
  /^[^\s@\p{Cc}]{1,256}$/u,
  'a name without spaces and "@"',
  'what follows "@" in a request is the version',
);

const source = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("body"),
    pointer: formatted(/^\/(?:[^/~]|~[01]){1,128}$/, 'a JSON pointer to a top-level member, such as "/model"').default(
      "/model",
    ),
  }),
  z.strictObject({ type: z.literal("query"), parameter: formatted(/^[A-Za-z0-9._~-]{1,128}$/, "a parameter's name") }),
  z.strictObject({ type: z.literal("header"), header: headerName }),
  z.strictObject({
    type: z.literal("path"),
    template: formatted(/^\/[\x21-\x7e]{0,1023}$/, 'a path that begins with "/"').refine(
      (template) =>
        template.split("/").filter((part) => part.includes("{model}")).length === 1 && !/\{(?!model\})/.test(template),
      {
        error: complaint("invalid-value", "must have {model} exactly once", "for example /v1/models/{model}/generate"),
      },
    ),
  }),
  z.strictObject({ type: z.literal("route") }),
]);

export const modelSpec = z.strictObject({
  names: distinct(modelName, 64)
    .min(1, { error: complaint("invalid-value", "at least 1 entry") })
    .exactOptional()
    .describe("Names by which applications ask for it; the object's own name unless given."),
  source: source
    .default({ type: "body", pointer: "/model" })
    .describe('Where a request says which model it wants; the top-level "model" of a JSON body unless given.'),
  approval: z
    .enum(["required", "notRequired"])
    .default("required")
    .describe("required: a version answers an application only while an Approval for the two is valid."),
  firstByte: duration(10, DAY).prefault("30s").describe("Streamed answers: time to the headers of one attempt."),
  wholeAnswer: duration(10, DAY).prefault("5m").describe("Whole answers: time over all attempts."),
  maxStream: duration(0, DAY).prefault("1h").describe("Longest life of a streamed answer; 0s: no bound."),
  maxAttempts: wholeNumber(1, 5).default(3).describe("Attempts over the whole fallback chain, the first included."),
  maxBodyBytes: wholeNumber(1_024, 67_108_864).default(4_194_304).describe("Largest request body that is taken."),
});
