import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { ChanceryError } from "../resources/index.ts";
import { type DurableFiles, errorCode } from "../revision/index.ts";
import type { NodeReport } from "./bus.ts";
import { MAX_REPORT_BYTES, MAX_REPORTERS } from "./bus-limits.ts";
import { encodeReport, parseReport } from "./bus-schema.ts";
import { keepNewest } from "./newest-files.ts";

/** `reports/<reporter>.json`, replaced as a whole with each report. */
export class DirectoryReports {
  readonly #directory: string;
  readonly #files: DurableFiles;
  readonly #onAlarm: (alarm: ChanceryError) => void;

  constructor(directory: string, files: DurableFiles, onAlarm: (alarm: ChanceryError) => void) {
    this.#directory = directory;
    this.#files = files;
    this.#onAlarm = onAlarm;
  }

  async write(report: NodeReport): Promise<void> {
    const bytes = encodeReport(report);
    // encodeURIComponent leaves "." and ".." as they are; the ending makes ordinary names of them.
    await this.#files.write(join(this.#directory, `${encodeURIComponent(report.reporter)}.json`), bytes);
    await keepNewest(this.#directory, await this.#names(), MAX_REPORTERS);
  }

  /** Reports that are new or other than when `seen` (file name → what it looked like) was last brought up to date. */
  async changed(seen: Map<string, string>): Promise<readonly NodeReport[]> {
    const names = await this.#names();
    for (const name of [...seen.keys()]) if (!names.includes(name)) seen.delete(name);
    const reports: NodeReport[] = [];
    for (const name of names) {
      const file = join(this.#directory, name);
      try {
        const { ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true });
        const looks = `${ino} ${size} ${mtimeNs} ${ctimeNs}`;
        if (seen.get(name) === looks) continue;
        seen.set(name, looks);
        if (size > MAX_REPORT_BYTES) throw new ChanceryError("corrupt", `it has ${size} bytes`);
        reports.push(parseReport(await readFile(file)));
      } catch (error) {
        // Its place was made free for another.
        if (errorCode(error) === "ENOENT") continue;
        this.#onAlarm(new ChanceryError("corrupt", `report ${file}: ${ChanceryError.from(error).message}`));
      }
    }
    return reports;
  }

  async #names(): Promise<readonly string[]> {
    return (await readdir(this.#directory)).filter((name) => name.endsWith(".json"));
  }
}
