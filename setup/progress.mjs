const REMINDER_MS = 15_000;

/**
 * Says what is begun and how long it may take, and from time to time that it still goes on.
 *
 * @template T
 * @param {import("./project.mjs").Project} project
 * @param {string} what  "fetching Envoy"
 * @param {string} howLong
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function announced(project, what, howLong, work) {
  project.say(`${what} (${howLong}) …`);
  const started = Date.now();
  const timer = setInterval(() => {
    project.say(`still ${what} (${Math.round((Date.now() - started) / 1000)} s) …`);
  }, REMINDER_MS);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}
