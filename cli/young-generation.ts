import { PerformanceObserver } from "node:perf_hooks";
import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";

/** Half of it for what is new, half for what a collection keeps of that. */
const YOUNG_BYTES = 16 * 1024 * 1024;

/**
 * Keeps the young generation of this process within 16 MiB; V8 lets it grow to 128. The process stands still for as long as
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
  let factor = 0;
  const bound = (): void => {
    const wanted = growthFactor();
    if (wanted === factor) return;
    factor = wanted;
    setFlagsFromString(`--semi-space-growth-factor=${factor}`);
  };
  bound();
  // It shrinks where little happens, and may grow again then.
  new PerformanceObserver(bound).observe({ entryTypes: ["gc"] });
}

/**
 * To the bound in one step: of the steps of V8's own there are several before anyone hears of the first. What V8 says that
 * there is may be one half alone: the other one is given back for a while, and is not there yet at the beginning.
 */
function growthFactor(): number {
  const young = getHeapSpaceStatistics().find((space) => space.space_name === "new_space")?.space_size ?? YOUNG_BYTES;
  return Math.max(1, Math.floor(YOUNG_BYTES / (2 * young)));
}
