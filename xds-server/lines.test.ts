import { readdir, readFile } from "node:fs/promises";
import { expect, test } from "vitest";

/** Lines of one protocol only; the others hold for both. */
const SOTW_ONLY = [3, 4, 6, 7, 8, 18, 26, 27, 28, 31];
const DELTA_ONLY = [5, 19, 20, 21, 22, 23, 29, 30, 34, 35, 42, 43];
/** One test of these goes through both protocols. */
const BOTH_INSIDE = [46, 47, 49];
const LINES = Array.from({ length: 50 }, (_, index) => index + 1);

interface NamedTest {
  readonly protocols: readonly string[];
  readonly line: number;
}

/** The line tests of all files: the protocol is said by the file, the name, or the heading that the test is under. */
async function namedTests(): Promise<NamedTest[]> {
  const found: NamedTest[] = [];
  const folder = import.meta.dirname;
  const files = (await readdir(folder)).filter((file) => file.endsWith(".test.ts") && file !== "lines.test.ts");
  for (const file of files) {
    let heading = "";
    let loops = false;
    for (const text of (await readFile(`${folder}/${file}`, "utf8")).split("\n")) {
      const described = /^describe\("([^"]*)"/.exec(text)?.[1];
      if (described !== undefined) [heading, loops] = [described, false];
      if (/for \(const protocol of \["sotw", "delta"\]/.test(text)) loops = true;
      const line = /^\s*test\(\s*["`](?:\$\{protocol\}: )?line (\d+):/.exec(text)?.[1];
      if (line === undefined) continue;
      const where = `${file} ${heading}`;
      const both = (loops && /\$\{protocol\}/.test(text)) || BOTH_INSIDE.includes(Number(line));
      const sotw = both || /sotw|state of the world/i.test(where);
      const delta = both || /delta/i.test(where);
      found.push({ line: Number(line), protocols: [...(sotw ? ["sotw"] : []), ...(delta ? ["delta"] : [])] });
    }
  }
  return found;
}

test("each of the fifty lines has a test, in each protocol that it holds for", async () => {
  const tests = await namedTests();
  const missing = LINES.flatMap((line) => {
    const wanted = SOTW_ONLY.includes(line) ? ["sotw"] : DELTA_ONLY.includes(line) ? ["delta"] : ["sotw", "delta"];
    return wanted
      .filter((protocol) => !tests.some((named) => named.line === line && named.protocols.includes(protocol)))
      .map((protocol) => `line ${line} (${protocol})`);
  });
  expect(missing).toEqual([]);
});
