import { openJournal } from "./journal.ts";

/**
 * A process that writes to a journal as fast as it can and prints the payload of each record once it is acknowledged
 * ("ok N") or refused ("no N"). Arguments: directory, number of records (0: until it is killed), bytes of each.
 */
const [directory = "", count = "0", size = "200"] = process.argv.slice(2);
const journal = await openJournal({
  directory,
  segmentBytes: 64 * 1024,
  onProblem: (problem) => console.error(problem.message),
});
const last = Number(count) || Number.POSITIVE_INFINITY;
let next = 1;

async function write(): Promise<void> {
  while (next <= last) {
    const number = next++;
    const payload = Buffer.alloc(Number(size), " ");
    payload.write(String(number));
    await journal.append(payload).then(
      () => process.stdout.write(`ok ${number}\n`),
      () => process.stdout.write(`no ${number}\n`),
    );
  }
}

await Promise.all(Array.from({ length: 16 }, write));
await journal.close();
