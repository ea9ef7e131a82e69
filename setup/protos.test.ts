import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { generateProtos, protosInPlace } from "./protos.mjs";
import { temporaryProject, writeProgram } from "./test-project.ts";

/** A project whose generator writes what `script` says into "$3/gen". */
async function projectWith(script: string) {
  const made = await temporaryProject({ PATH: "/usr/bin:/bin" });
  await mkdir(join(made.root, "protos/acme"), { recursive: true });
  await writeFile(join(made.root, "protos/acme/a.proto"), "syntax = 'proto3';");
  await writeProgram(join(made.root, "node_modules/.bin/buf"), script);
  return made;
}

const generate = `mkdir "$3/gen" && cat acme/a.proto > "$3/gen/a.ts"`;

test("generates when a source has changed, and only then", async () => {
  const { project, root } = await projectWith(generate);
  expect(await protosInPlace(project)).toBe(false);
  await generateProtos(project);
  expect(await protosInPlace(project)).toBe(true);
  await writeFile(join(root, "protos/acme/a.proto"), "changed");
  expect(await protosInPlace(project)).toBe(false);
  await generateProtos(project);
  expect(await readFile(join(root, "protos/gen/a.ts"), "utf8")).toBe("changed");
  expect(await readdir(join(root, ".tools"))).toEqual([]);
});

test("generates again when the generator is another version", async () => {
  const { project, root } = await projectWith(generate);
  await generateProtos(project);
  await mkdir(join(root, "node_modules/@bufbuild/buf"), { recursive: true });
  await writeFile(join(root, "node_modules/@bufbuild/buf/package.json"), `{"version":"2.0.0"}`);
  expect(await protosInPlace(project)).toBe(false);
});

test("keeps the old code whole when the generator fails half way", async () => {
  const { project, root } = await projectWith(generate);
  await generateProtos(project);
  await writeProgram(join(root, "node_modules/.bin/buf"), `${generate}; echo "a.proto:1:1: bad" >&2; exit 1`);
  await writeFile(join(root, "protos/acme/a.proto"), "bad");
  await expect(generateProtos(project)).rejects.toThrow(/buf generate.*failed:\na\.proto:1:1: bad/s);
  expect(await readFile(join(root, "protos/gen/a.ts"), "utf8")).toBe("syntax = 'proto3';");
  expect(await protosInPlace(project)).toBe(false);
});

test("says what to do when the generator is not installed", async () => {
  const { project, root } = await temporaryProject();
  await mkdir(join(root, "protos"));
  await expect(generateProtos(project)).rejects.toThrow(/npm run setup/);
});
