import { type FaultResult, faultsOf, faultTable, runFault } from "./regions-faults.ts";
import { startRegions } from "./regions-fixture.ts";

/** How long a region is cut off, and other faults last (milliseconds). */
const CUT_MS = 60_000;
const LASTS_MS = 10_000;

const fleet = await startRegions();
const results: FaultResult[] = [];
try {
  for (const fault of await faultsOf(fleet, CUT_MS, LASTS_MS)) {
    process.stderr.write(`${fault.name} …\n`);
    results.push(await runFault(fleet, fault));
  }
} finally {
  if (results.length > 0) process.stdout.write(`${faultTable(results)}\n`);
  await fleet.close();
}
process.exitCode = results.every(({ wrong, lost }) => wrong === 0 && lost === 0) ? 0 : 1;
