import { digestOf } from "../revision/index.ts";
import { openDirectoryBus } from "./directory-bus.ts";

// A process of directory-bus.test.ts: publishes one head after the other until it is killed.
// Arguments: directory, and text that makes its blobs its own.
const [directory = "", own = ""] = process.argv.slice(2);
const bus = await openDirectoryBus(directory);
process.stdout.write("ready\n");
for (;;) {
  const head = await bus.head();
  const number = (head?.number ?? 0) + 1;
  const bytes = Buffer.from(`${own} ${number} ${"x".repeat(200_000)}`);
  await bus.putBlob(digestOf(bytes), bytes);
  try {
    await bus.publishHead({ manifest: digestOf(bytes), number }, head?.sequence ?? 0);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "conflict")) throw error;
  }
}
