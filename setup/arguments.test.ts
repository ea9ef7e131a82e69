import { expect, test } from "vitest";
import { parseArguments, STEP_NAMES } from "./arguments.mjs";
import { openProject } from "./project.mjs";

test("does every step unless told otherwise", () => {
  expect(parseArguments([])).toEqual({ help: false, quiet: false, force: false, steps: STEP_NAMES });
  expect(parseArguments(["--quiet", "--force", "--only", "protos"])).toEqual({
    help: false,
    quiet: true,
    force: true,
    steps: ["protos"],
  });
  expect(parseArguments(["--only=envoy"])).toMatchObject({ steps: ["envoy"] });
});

test.each([[["--only"]], [["--only", "everything"]], [["--fast"]], [["envoy"]]])("refuses %j", (args) => {
  expect(parseArguments(args)).toHaveProperty("error");
});

test.each([
  ["darwin", "arm64"],
  ["linux", "ia32"],
])("says on which machines it runs when started on %s %s", (platform, architecture) => {
  const edge = { say() {}, signal: new AbortController().signal };
  expect(() => openProject("/", {}, { platform, architecture }, edge)).toThrow(/Linux \(x64 or arm64\)/);
});
