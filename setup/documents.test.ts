import { access, readdir, readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));

const inRoot = (await readdir(root)).filter((name) => name.endsWith(".md"));
const inDocs = (await readdir(resolve(root, "docs")))
  .filter((name) => name.endsWith(".md"))
  .map((name) => `docs/${name}`);

/** Targets of links within the repository, and files of code that are named between backticks. */
function namedFiles(document: string, text: string): string[] {
  const links = [...text.matchAll(/\]\(([^)\s#]+)/g)].map(([, target = ""]) => target);
  const local = links.filter((target) => !/^[a-z]+:/.test(target));
  const code = [...text.matchAll(/`([\w.-]+(?:\/[\w.-]+)+\.(?:ts|mjs|json|yaml))`/g)].map(([, path = ""]) => path);
  return [
    ...local.map((target) => resolve(root, dirname(document), target)),
    ...code.map((path) => resolve(root, path)),
  ];
}

test.each([...inRoot, ...inDocs])("%s names only files that are there", async (document) => {
  const missing: string[] = [];
  for (const path of namedFiles(document, await readFile(resolve(root, document), "utf8"))) {
    await access(path).catch(() => missing.push(path));
  }
  expect(missing).toEqual([]);
});
