import { createHash } from "node:crypto";
import { expect, onTestFinished, test } from "vitest";
import { createRegistry, getStatus, startAdminServer } from "../admin/index.ts";
import { save, temporaryDirectory, waitFor } from "../test/support/index.ts";
import { openPrincipalsFile } from "./principals-file.ts";

const DEADLINE = 10_000;
const ALICE = "alice's-own-token-1";
const BOB = "bob's-own-token-123";

function list(...people: readonly (readonly [name: string, token: string])[]): string {
  const sha256 = (token: string): string => createHash("sha256").update(token).digest("hex");
  return JSON.stringify(people.map(([name, token]) => ({ name, roles: ["approver"], tokenSha256: sha256(token) })));
}

test("a principals file that is not there, or wrong, is refused at the start", async () => {
  const quiet = { info: () => undefined, error: () => undefined };
  expect(await openPrincipalsFile(undefined, quiet)).toBeUndefined();
  await expect(openPrincipalsFile("/nonexistent", quiet)).rejects.toMatchObject({ code: "not-found" });
});

test("who may call changes with the file, a bad file changes nothing, and an empty list lets nobody in", async () => {
  const directory = await temporaryDirectory("principals");
  const put = (text: string): Promise<string> => save(directory, "principals.json", text);
  const file = await put(list(["alice", ALICE]));
  const errors: unknown[] = [];
  const log = { info: () => undefined, error: (fields: unknown) => errors.push(fields) };
  const principals = await openPrincipalsFile(file, log, 5);
  if (principals === undefined) throw new Error("it was named");
  onTestFinished(() => principals.close());
  const server = await startAdminServer({
    ...{ host: "127.0.0.1", port: 0, notReady: () => [], metrics: createRegistry() },
    status: () => ({ nodes: [], decisionServices: [], frozenScopes: [], restrictions: [] }),
    principals: () => principals.current(),
  });
  onTestFinished(() => server.close());
  const isLetIn = async (token?: string): Promise<boolean> =>
    await getStatus({ control: server.address, ...(token === undefined ? {} : { token }) }).then(
      () => true,
      () => false,
    );
  expect([await isLetIn(ALICE), await isLetIn(BOB), await isLetIn()]).toEqual([true, false, false]);

  await put("[{ name: bob }]");
  await waitFor(() => errors.length > 0, DEADLINE, "the complaint about the file");
  expect(JSON.stringify(errors)).toContain("principals.json");
  expect([await isLetIn(ALICE), await isLetIn(BOB)]).toEqual([true, false]);

  await put(list(["bob", BOB]));
  await waitFor(() => isLetIn(BOB), DEADLINE, "bob");
  expect(await isLetIn(ALICE)).toBe(false);

  await put("[]");
  await waitFor(async () => !(await isLetIn(BOB)), DEADLINE, "bob being struck off");
  expect([await isLetIn(ALICE), await isLetIn()]).toEqual([false, false]);
});
