import { z } from "zod";
import { complaint } from "./complaint.ts";
import { formatted, list, reference, text, timestamp, wholeNumber } from "./fields.ts";
import { expression } from "./policy.ts";

const percentage = z
  .number()
  .min(0, { error: complaint("invalid-value", "must lie between 0 and 100 (percent)") })
  .max(100, { error: complaint("invalid-value", "must lie between 0 and 100 (percent)") });

/** CEL of type string; compiled in `policy/`. */
export const stickyKey = expression.describe(
  "CEL that gives a string: who stays with what was drawn. subject.id unless given, source.address of anonymous callers.",
);

const common = {
  model: reference.describe("The Model whose requests are split; those that name a version are not."),
  when: expression.exactOptional().describe("CEL: which requests; all, unless given. Unknown: not this one."),
  stickyKey: stickyKey.exactOptional(),
  salt: text(256)
    .exactOptional()
    .describe("What makes the draw independent of other splits; scope and name unless given. A new one draws anew."),
  holdout: percentage
    .default(0)
    .describe("Percent of units that are left out: the same ones in all splits of the model."),
};

export const rolloutSpec = z.strictObject({
  ...common,
  to: reference.describe("The ModelVersion that is brought in."),
  from: list(reference, 1, 64)
    .exactOptional()
    .describe(
      "The ModelVersions that it takes over from, best first; those older than `to`, newest first, unless given.",
    ),
  steps: list(percentage, 1, 100)
    .describe("Shares of units in percent, each greater than the one before.")
    .check((context) => {
      for (const [index, share] of context.value.entries()) {
        const before = context.value[index - 1];
        if (before === undefined || share > before) continue;
        const message = complaint("invalid-value", `must be more than the step before (${before})`);
        context.issues.push({ code: "custom", input: share, path: [index], message });
      }
    }),
  step: wholeNumber(0, 100).describe("How many steps are taken: 0: nobody is moved yet; 1: the share of the first."),
  segments: list(
    z.strictObject({
      when: expression.describe("CEL. Where it holds, or is unknown, the version answers."),
      version: reference.describe("The ModelVersion that these requests stay with."),
    }),
    0,
    64,
  )
    .default([])
    .describe("Requests that are not moved but stay with a version; the first that holds counts."),
  mirror: z
    .strictObject({
      version: reference.exactOptional().describe("The ModelVersion that gets the copies; `to` unless given."),
      share: percentage.default(100).describe("Percent of requests that are copied."),
    })
    .exactOptional()
    .describe("Copies of requests go to a version whose answers nobody sees, where every rule lets it have them."),
});

const armName = formatted(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/, "a short name of letters, digits, - . _");

export const experimentSpec = z.strictObject({
  ...common,
  arms: list(
    z.strictObject({
      name: armName,
      version: reference.describe("The ModelVersion that answers the units of this arm."),
      weight: z
        .number()
        .gt(0, { error: complaint("invalid-value", "must be more than 0", "leave out an arm that gets nobody") })
        .max(1_000_000, { error: complaint("invalid-value", "at most 1000000") })
        .default(1)
        .describe("Share of the enrolled units, relative to the other arms."),
    }),
    2,
    16,
  ),
  share: percentage
    .default(100)
    .describe("Percent of units that are enrolled; more of them moves nobody between arms."),
  validFrom: timestamp.exactOptional(),
  validUntil: timestamp.exactOptional(),
});
