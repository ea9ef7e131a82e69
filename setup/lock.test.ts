import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, readdir, readFile, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { takeLock } from "./lock.mjs";
import { temporaryProject } from "./test-project.ts";

const { signal } = new AbortController();
const ignore = () => {};

async function lockFile() {
  const { root } = await temporaryProject();
  return { path: join(root, ".tools", "setup.lock"), folder: join(root, ".tools") };
}

test("lets one holder in at a time, also past a dead one, and leaves nothing behind", async () => {
  const { path, folder } = await lockFile();
  await (await takeLock(path, { waitMs: 1, silentMs: 60_000, onWait: ignore, signal }))();
  await writeFile(path, "not from a process that lives");
  await utimes(path, new Date(0), new Date(0));
  let inside = 0;
  let most = 0;
  const work = async () => {
    for (let round = 0; round < 3; round++) {
      const release = await takeLock(path, { waitMs: 60_000, silentMs: 60_000, onWait: ignore, signal });
      inside++;
      most = Math.max(most, inside);
      await readdir(folder);
      inside--;
      await release();
      await release();
    }
  };
  await Promise.all(Array.from({ length: 6 }, work));
  expect(most).toBe(1);
  expect(await readdir(folder)).toEqual([]);
});

test("says once that it waits, and for whom", async () => {
  const { path } = await lockFile();
  const release = await takeLock(path, { waitMs: 60_000, silentMs: 60_000, onWait: ignore, signal });
  const waits: number[] = [];
  const onWait = ({ pid }: { pid: number }) => {
    waits.push(pid);
    void release();
  };
  const second = await takeLock(path, { waitMs: 60_000, silentMs: 60_000, onWait, signal });
  expect(waits).toEqual([process.pid]);
  await second();
});

test("takes over from a process that was killed", async () => {
  const { path } = await lockFile();
  const script = `import { takeLock } from ${JSON.stringify(new URL("./lock.mjs", import.meta.url).href)};
    await takeLock(${JSON.stringify(path)}, { waitMs: 1, silentMs: 60_000, onWait() {}, signal: new AbortController().signal });
    console.log("held"); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  child.kill("SIGKILL");
  await once(child, "close");
  await access(path);
  const release = await takeLock(path, { waitMs: 60_000, silentMs: 3_600_000, onWait: ignore, signal });
  expect(JSON.parse(await readFile(path, "utf8")).pid).toBe(process.pid);
  await release();
});

test("is not fooled by another process with the same number", async () => {
  const { path } = await lockFile();
  const release = await takeLock(path, { waitMs: 1, silentMs: 60_000, onWait: ignore, signal });
  const owner = JSON.parse(await readFile(path, "utf8"));
  await release();
  await writeFile(path, JSON.stringify({ ...owner, born: "1" }));
  await (await takeLock(path, { waitMs: 60_000, silentMs: 3_600_000, onWait: ignore, signal }))();
});

test("of a holder on another machine it goes by how long it has been silent", async () => {
  const { path } = await lockFile();
  const release = await takeLock(path, { waitMs: 1, silentMs: 60_000, onWait: ignore, signal });
  const owner = JSON.parse(await readFile(path, "utf8"));
  await release();
  await writeFile(path, JSON.stringify({ ...owner, where: "elsewhere" }));
  await expect(takeLock(path, { waitMs: -1, silentMs: 60_000, onWait: ignore, signal })).rejects.toThrow(
    /another set-up/,
  );
  const longAgo = new Date(Date.now() - 120_000);
  await utimes(path, longAgo, longAgo);
  await (await takeLock(path, { waitMs: -1, silentMs: 60_000, onWait: ignore, signal }))();
});

test("stops waiting when it is told to", async () => {
  const { path } = await lockFile();
  const release = await takeLock(path, { waitMs: 1, silentMs: 60_000, onWait: ignore, signal });
  const stop = new AbortController();
  const onWait = () => stop.abort();
  await expect(takeLock(path, { waitMs: 60_000, silentMs: 60_000, onWait, signal: stop.signal })).rejects.toThrow(
    /abort/,
  );
  await release();
});
