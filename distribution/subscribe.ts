import type { Subscription } from "./bus.ts";

/** Calls are never made from within another call: a listener may use the bus. */
export function subscribe<T>(
  listeners: Set<(value: T) => void>,
  listener: (value: T) => void,
  now: () => readonly T[],
): Subscription {
  let open = true;
  const call = (value: T): void => queueMicrotask(() => open && listener(value));
  listeners.add(call);
  for (const value of now()) call(value);
  return {
    close: () => {
      open = false;
      listeners.delete(call);
    },
  };
}
