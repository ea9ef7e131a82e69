import { PerformanceObserver } from "node:perf_hooks";
import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";

/** Half of it for what is new, half for what a collection keeps of that. */
const YOUNG_BYTES = 16 * 1024 * 1024;

/** V8's own. */
const GROWS = 2;
const STAYS = 1;

/**
 * Keeps the young generation of this process at 16 MiB; V8 lets it grow to 128. The process stands still for as long as
 * a collection copies what is still in use: while 10,000 rules are compiled that is a dozen milliseconds in a large
 * generation, and two in a small one, for about the same CPU in all (`npm run bench:policy` measures both). For what
 * answers requests. To be called before the modules of the server are loaded, which make it grow.
 *
 * The size itself can only be said on the command line of Node, or in NODE_OPTIONS, and what is said there counts. How
 * it grows can be said at any time.
 */
export function boundYoungGeneration(): void {
  const said = [...process.execArgv, process.env.NODE_OPTIONS ?? ""];
  if (said.some((options) => /semi[-_]space[-_]size/.test(options))) return;
  let factor = GROWS;
  const observer = new PerformanceObserver(() => {
    const wanted = youngBytes() < YOUNG_BYTES ? GROWS : STAYS;
    if (wanted === factor) return;
    factor = wanted;
    setFlagsFromString(`--semi-space-growth-factor=${factor}`);
  });
  observer.observe({ entryTypes: ["gc"] });
}

function youngBytes(): number {
  return getHeapSpaceStatistics().find((space) => space.space_name === "new_space")?.space_size ?? 0;
}
