import { ChanceryError } from "../resources/index.ts";

/**
 * The promise, or a ChanceryError "unavailable" after `ms` milliseconds.
 *
 * @param what  for the message: "the bus gave no answer about x"
 */
export async function withDeadline<T>(promise: Promise<T>, ms: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new ChanceryError("unavailable", `${what} for ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
