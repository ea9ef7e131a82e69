import { setImmediate } from "node:timers/promises";
import { SLICE_MS, type Slicing } from "../policy/index.ts";

/** How what takes long shares this process's loop with requests. */
export const LOOP_SLICING: Slicing = {
  sliceMs: SLICE_MS,
  monotonic: () => performance.now(),
  rest: () => setImmediate(),
};
