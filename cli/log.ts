import { join } from "node:path";
import { Command, Option } from "commander";
import { compactLog } from "../admin/index.ts";
import { auditLog, type LogAudit, type SignedLogEntry } from "../distribution/index.ts";
import { ChanceryError, printableLines } from "../resources/index.ts";
import { loadTrust } from "../revision/index.ts";
import { DEFAULT_ADDRESSES } from "./address.ts";
import { type AdminAccess, addAdminAccess, adminClient } from "./admin-client.ts";
import { collect, parseSpan } from "./options.ts";

interface CompactOptions extends AdminAccess {
  readonly server: string;
  readonly keep: number;
}

interface AuditOptions {
  readonly state: string;
  readonly trust: readonly string[];
  readonly format: "text" | "json";
}

const DAY_MS = 86_400_000;
/** A large log is written to the bus entry by entry. */
const COMPACT_MS = 10 * 60_000;

const HELP = `
Approvals are kept as signed entries of the operational log, each of which names the one before it. It holds 16,384 of
them; "chancery status" warns from 80 % on. Compacting puts a signed checkpoint behind it, which says again what is not
over; what came before goes to the archive in the state directory of each control plane (log/archive), from where
"chancery log audit" still reads all of it.

Examples:
  chancery log compact
  chancery log compact --keep 365d --server https://hub:7070 --ca ca.pem --token-file token
  chancery log audit --state /var/lib/chancery/control --trust keys/trust.json
  chancery log audit --state .chancery --trust keys/trust.json --trust trust-2025.json --format json
`;

/** `chancery log compact|audit` */
export function logCommand(): Command {
  const log = new Command("log").addHelpText("after", HELP);
  const compact = log
    .command("compact")
    .description("make room in the operational log: what is over goes to the archive")
    .option("--server <addr>", "admin API of control", DEFAULT_ADDRESSES.control)
    .addOption(
      new Option("--keep <duration>", "how long what is over stays in the log, and so in chancery approval list")
        .argParser(parseSpan)
        .default(30 * DAY_MS, "30d"),
    );
  addAdminAccess(compact, "file with the bearer token of the operator").action(async (options: CompactOptions) => {
    const client = { ...(await adminClient(options.server, options)), timeoutMs: COMPACT_MS };
    const { before, kept, sequence } = await compactLog(client, Date.now() - options.keep);
    const what = `${before} entries became ${kept + 1}, from the checkpoint ${sequence} on`;
    process.stdout.write(`${what}; the others are in the archive (log/archive in the state directory)\n`);
  });
  log
    .command("audit")
    .description("verify and print the whole operational log of a control plane, its archive included")
    .requiredOption("--state <dir>", "state directory of the control plane")
    .option("--trust <file>", "trust file; again for older ones, which cover keys that are retired", collect, [])
    .addOption(new Option("--format <format>", "how to print it").choices(["text", "json"]).default("text"))
    .action(audit);
  return log;
}

async function audit({ state, trust, format }: AuditOptions): Promise<void> {
  if (trust.length === 0) throw new ChanceryError("invalid-argument", "say by which trust file: --trust FILE");
  const trusts = await Promise.all(trust.map((file) => loadTrust(file)));
  const found = await auditLog(join(state, "log"), trusts, Date.now());
  const text = format === "json" ? JSON.stringify(toJson(found), undefined, 2) : printableLines(toText(found));
  process.stdout.write(`${text}\n`);
  const gap = gapOf(found);
  if (gap === undefined && found.problems.length === 0) return;
  const all = [...(gap === undefined ? [] : [gap]), ...found.problems.map(({ message }) => message)];
  throw new ChanceryError("corrupt", `the log does not verify: ${all.slice(0, 8).join("; ")}`);
}

function gapOf({ entries }: LogAudit): string | undefined {
  const [first] = entries;
  if (first === undefined || first.previous === "") return undefined;
  return `nothing is there of before entry ${first.sequence}`;
}

function toText(found: LogAudit): string {
  const { entries, archived, aside } = found;
  const count = `${entries.length} entries, ${archived} of them in the archive; every signature and link is good`;
  return [
    ...entries.map(lineOf),
    ...(aside.length === 0 ? [] : ["without a place in the log:", ...aside.map(lineOf)]),
    gapOf(found) === undefined && found.problems.length === 0 ? count : `${entries.length} entries`,
  ].join("\n");
}

function lineOf({ sequence, at, by, kind, action, checkpoint, signedBy }: SignedLogEntry): string {
  const what = action === undefined ? `keeps ${checkpoint?.entries ?? "?"} entries` : `${action.id}: ${action.reason}`;
  return `${sequence}  ${at}  ${kind}  by ${by}  ${what}  (signed by ${signedBy.join(", ")})`;
}

function toJson({ entries, archived, aside }: LogAudit): object {
  const each = ({ sequence, previous, digest, at, by, kind, action, checkpoint, signedBy }: SignedLogEntry) => ({
    ...{ sequence, previous, digest, at, by, kind, signedBy },
    action: action ?? checkpoint,
  });
  return { entries: entries.map(each), archived, aside: aside.map(each) };
}
