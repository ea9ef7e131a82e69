import { userInfo } from "node:os";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Command, Option } from "commander";
import { giveRestriction, liftRestriction, type RestrictionKind } from "../admin/index.ts";
import { RESTRICTION_KINDS, type RestrictionState, signRestriction } from "../distribution/index.ts";
import { ChanceryError, formatDuration, printableLines } from "../resources/index.ts";
import { loadSigningKey } from "../revision/index.ts";
import { DEFAULT_ADDRESSES } from "./address.ts";
import { addAdminAccess, adminClient } from "./admin-client.ts";
import { addNatsOptions } from "./nats-options.ts";
import { collect, parseSpan } from "./options.ts";
import { isBus, openRestrictionPlace, type PlaceOptions, type RestrictionPlace } from "./quarantine-place.ts";
import { newRestrictionId } from "./restrictions.ts";

interface QuarantineOptions extends PlaceOptions {
  readonly key: readonly string[];
  readonly by?: string;
  readonly for?: number;
  readonly reason?: string;
  readonly unknown?: boolean;
  readonly format?: "text" | "json";
}

const HELP = `
The kill switch. Takes a model version, a model, an upstream, a region, an application or an allow rule out of use for
new requests, at once, in every region, until a time; it needs no revision and no leader. Names are keys: the scope and
the name (team/atlas-v3); a rule is <policy>/<rule> (team/limits/over-quota).

Given to control, to a relay or to a decision service (--server ADDRESS: its --control or --admin), or put on a bus
(--bus DIR or --nats URL, with --trust FILE). Control signs by itself; the others take what you sign with a key that the trust
file covers (--key FILE; "chancery keys init --restriction-keys 1"). A region that is cut off takes it, too, and passes it
on when it is back. At most 168h; "renew" moves the end.

Examples:
  chancery quarantine version team/atlas-v3 --for 2h --reason "leaks prompts"
  chancery quarantine application team/assistant --for 30m --reason "stolen key" --server 127.0.0.1:7071 --key ops.pem
  chancery quarantine list
  chancery quarantine list --server https://hub.example.com:7070 --ca ca.pem --token-file token
  chancery quarantine renew q-0a1b2c3d4e5f6071 --for 12h
  chancery quarantine lift q-0a1b2c3d4e5f6071 --reason "fixed in v4"
`;

const ABOUT: Readonly<Record<RestrictionKind, string>> = {
  version: "a model version: other approved versions answer",
  model: "a model, with all of its versions",
  upstream: "an upstream, for models and plain routes",
  region: "every deployment in a region",
  application: "every request of an application",
  rule: "an allow or reroute rule: what it gave is not given",
};

/** `chancery quarantine` */
export function quarantineCommand(): Command {
  const quarantine = new Command("quarantine").addHelpText("after", HELP);
  for (const kind of RESTRICTION_KINDS) {
    addPlaceOptions(
      quarantine.command(kind).description(`take out of use ${ABOUT[kind]}`).argument("<name>", "its key"),
    )
      .requiredOption("--for <duration>", "until then: 90s, 2h, 1h30m", parseSpan)
      .requiredOption("--reason <text>", "what is said to those who are refused, and in the record")
      .option("--unknown", "also where nothing of that name is in force")
      .action((name: string, options: QuarantineOptions) => give(kind, name, options));
  }
  addPlaceOptions(quarantine.command("renew").description("give a restriction a later end").argument("<id>"))
    .requiredOption("--for <duration>", "from now: 90s, 2h, 1h30m", parseSpan)
    .option("--reason <text>", "why; the first reason unless given")
    .action(renew);
  addPlaceOptions(quarantine.command("lift").description("end a restriction, everywhere, for good").argument("<id>"))
    .requiredOption("--reason <text>", "why it is not needed any more")
    .action(lift);
  addPlaceOptions(quarantine.command("list").description("show the restrictions that have not ended by themselves"))
    .addOption(new Option("--format <format>", "how to print it").choices(["text", "json"]).default("text"))
    .action(list);
  return quarantine;
}

function addPlaceOptions(command: Command): Command {
  addNatsOptions(command).option(
    "--server <addr>",
    "control, relay or decision service that takes it",
    DEFAULT_ADDRESSES.control,
  );
  return addAdminAccess(command, "file with the bearer token of its admin API")
    .option("--bus <dir>", "directory of a bus on this machine, in place of a server")
    .option("--trust <file>", "with --bus or --nats: trust file that entries must satisfy")
    .option("--key <file>", "sign with this key here, in place of the server", collect, [])
    .option("--by <name>", "with --key: who gives it (default: the name of this user)");
}

async function give(kind: RestrictionKind, value: string, options: QuarantineOptions): Promise<void> {
  const until = Date.now() + (options.for ?? 0);
  const reason = options.reason ?? "";
  if (options.key.length > 0 || isBus(options)) {
    await signed(options, () => ({ id: newRestrictionId(), kind, value, reason }), until);
    return;
  }
  const request = { kind, value, reason, until: timestampFromMs(until), allowUnknown: options.unknown === true };
  const { id, spread } = await giveRestriction(await adminClient(options.server, options), request);
  tell(`restricted  ${id}  ${kind} ${value}  until ${new Date(until).toISOString()}`, spread);
}

async function renew(id: string, options: QuarantineOptions): Promise<void> {
  const until = Date.now() + (options.for ?? 0);
  if (options.key.length > 0 || isBus(options)) {
    await signed(options, (states) => renewed(states, id, options.reason), until);
    return;
  }
  const request = { renews: id, reason: options.reason ?? "", until: timestampFromMs(until) };
  const { spread } = await giveRestriction(await adminClient(options.server, options), request);
  tell(`renewed  ${id}  until ${new Date(until).toISOString()}`, spread);
}

async function lift(id: string, options: QuarantineOptions): Promise<void> {
  const reason = options.reason ?? "";
  if (options.key.length === 0 && !isBus(options)) {
    tell(`lifted  ${id}`, await liftRestriction(await adminClient(options.server, options), { id, reason }));
    return;
  }
  await atPlace(options, async (place) => {
    const at = new Date().toISOString();
    const keys = await keysOf(options);
    tell(
      `lifted  ${id}`,
      await place.give(signRestriction({ format: 1, type: "lift", id, reason, by: whoOf(options), at }, keys)),
    );
  });
}

type Draft = Pick<RestrictionState, "id" | "kind" | "value" | "reason">;

/** Signs here, and hands the signed entry over. */
async function signed(
  options: QuarantineOptions,
  draft: (states: readonly RestrictionState[]) => Draft,
  untilMs: number,
): Promise<void> {
  await atPlace(options, async (place) => {
    const { id, kind, value, reason } = draft(await place.states());
    const [at, until] = [new Date().toISOString(), new Date(untilMs).toISOString()];
    const statement = { format: 1, type: "restrict", id, kind, value, reason, by: whoOf(options), at, until } as const;
    const spread = await place.give(signRestriction(statement, await keysOf(options)));
    tell(`restricted  ${id}  ${kind} ${value}  until ${until}`, spread);
  });
}

function renewed(states: readonly RestrictionState[], id: string, reason: string | undefined): Draft {
  const found = states.find((state) => state.id === id);
  if (found === undefined) throw new ChanceryError("not-found", `there is no restriction ${id} that has not ended`);
  return { id, kind: found.kind, value: found.value, reason: reason ?? found.reason };
}

async function list(options: QuarantineOptions): Promise<void> {
  await atPlace(options, async (place) => {
    const states = await place.states();
    process.stdout.write(
      options.format === "json" ? `${JSON.stringify(states, undefined, 2)}\n` : formatRestrictions(states, Date.now()),
    );
  });
}

/** @param now  milliseconds since the epoch */
function formatRestrictions(states: readonly RestrictionState[], now: number): string {
  if (states.length === 0) return "no restrictions\n";
  const lines = states.flatMap((state) => {
    const left = Math.max(0, Math.round((Date.parse(state.until) - now) / 1_000)) * 1_000;
    const ends =
      state.lifted === undefined
        ? `until ${state.until} (${formatDuration(left)})`
        : `lifted ${state.lifted.at} by ${state.lifted.by}: ${state.lifted.reason}`;
    return [`${state.id}  ${state.kind} ${state.value}  ${ends}`, `  by ${state.by} at ${state.at}: ${state.reason}`];
  });
  return `${printableLines(lines.join("\n"))}\n`;
}

async function atPlace(options: QuarantineOptions, work: (place: RestrictionPlace) => Promise<void>): Promise<void> {
  const place = await openRestrictionPlace(options, await adminClient(options.server, options));
  try {
    await work(place);
  } finally {
    await place.close();
  }
}

async function keysOf({ key }: QuarantineOptions) {
  if (key.length === 0)
    throw new ChanceryError("invalid-argument", "what is put on a bus is signed here: add --key FILE");
  return await Promise.all(key.map((file) => loadSigningKey(file)));
}

function whoOf({ by }: QuarantineOptions): string {
  return by ?? userInfo().username;
}

function tell(line: string, spread: boolean): void {
  process.stdout.write(`${line}\n`);
  if (spread) return;
  process.stderr.write(
    "warning: in force at that process, and not on the bus yet: it is offered until the bus takes it\n",
  );
}
