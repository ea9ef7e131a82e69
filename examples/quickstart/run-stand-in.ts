import type { StandIn } from "./stand-in.ts";

/**
 * Runs a stand-in as a process: prints `NAME listening on PORT`, ends on SIGINT and SIGTERM.
 *
 * @param start  reads the arguments; undefined asks for the usage text
 */
export async function runStandIn(usage: string, start: () => Promise<StandIn> | undefined): Promise<void> {
  let standIn: StandIn;
  try {
    const starting = start();
    if (starting === undefined) {
      const asked = process.argv.some((argument) => argument === "--help" || argument === "-h");
      (asked ? process.stdout : process.stderr).write(usage);
      process.exitCode = asked ? 0 : 2;
      return;
    }
    standIn = await starting;
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
    process.exitCode = 2;
    return;
  }
  process.stdout.write(`${standIn.name} listening on ${standIn.port}\n`);
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void standIn.close());
}
