// Makes the package's JavaScript: `dist/`, with the folders as they are in the sources. `npm pack` calls it.

import { spawnSync } from "node:child_process";
import { chmod, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const BUILD_TIMEOUT_MS = 5 * 60_000;
const inRoot = (/** @type {string} */ path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

// What an earlier build left must not travel along.
await rm(inRoot("dist"), { recursive: true, force: true });
// `npm pack --json` speaks on standard output: what the compiler says goes to standard error.
const { status, error } = spawnSync(inRoot("node_modules/.bin/tsc"), ["-p", inRoot("tsconfig.build.json")], {
  stdio: ["ignore", 2, 2],
  timeout: BUILD_TIMEOUT_MS,
});
if (status !== 0) {
  process.stderr.write(`the build failed${error === undefined ? "" : `: ${error.message}`}\n`);
  process.exit(1);
}
await chmod(inRoot("dist/cli/main.js"), 0o755);
