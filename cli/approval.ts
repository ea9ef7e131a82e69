import { type Timestamp, timestampDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Command, Option } from "commander";
import {
  type Approval,
  type ApprovalStep,
  type ApprovedIdentity,
  grantApproval,
  listApprovals,
  requestApproval,
  revokeApproval,
} from "../admin/index.ts";
import { ChanceryError, printableLines } from "../resources/index.ts";
import { DEFAULT_ADDRESSES } from "./address.ts";
import { type AdminAccess, addAdminAccess, adminClient } from "./admin-client.ts";
import { collect, parseSpan, parseTime } from "./options.ts";

interface PlaceOptions extends AdminAccess {
  readonly server: string;
}

interface RequestOptions extends PlaceOptions {
  readonly jurisdiction: readonly string[];
  readonly condition: readonly string[];
  readonly reason: string;
  readonly for?: number;
  readonly until?: number;
}

interface ReasonOptions extends PlaceOptions {
  readonly reason: string;
}

interface ListOptions extends PlaceOptions {
  readonly format?: "text" | "json";
}

const HELP = `
Which model version may answer which application. One person requests, another grants (four eyes): each comes with a token
of their own (--token-file), which control knows by its --principals file. A grant is in force with the next revision,
which is published at once; so is what is revoked out of force. Every step is kept, signed, in the operational log.

Examples:
  chancery approval request team/atlas-v3 team/assistant --jurisdiction EU --for 90d --reason "passed the review of May"
  chancery approval request team/atlas-v3 team/assistant --reason "pilot" --condition 'subject.kind == "jwt"'
  chancery approval list
  chancery approval grant a-0a1b2c3d4e5f6071 --reason "report 17" --token-file bob.token
  chancery approval revoke a-0a1b2c3d4e5f6071 --reason "report 17 is wrong"
`;

/** `chancery approval` */
export function approvalCommand(): Command {
  const approval = new Command("approval").addHelpText("after", HELP);
  addPlaceOptions(
    approval
      .command("request")
      .description("ask that a model version may answer an application; somebody else grants it")
      .argument("<version>", "key of the ModelVersion")
      .argument("<application>", "key of the Application"),
  )
    .requiredOption("--reason <text>", "why, for whoever grants it and for the record")
    .option("--jurisdiction <code>", "where: EU, DE, US-CA; again for each (default: everywhere)", collect, [])
    .option(
      "--condition <cel>",
      "it holds for requests for which this is true, as for a restrict rule; repeatable, all must be",
      collect,
      [],
    )
    .addOption(
      new Option("--for <duration>", "it ends so long from now: 90d, 12h").argParser(parseSpan).conflicts("until"),
    )
    .option("--until <time>", "it ends then (RFC 3339); default: when it is revoked", parseTime)
    .action(request);
  addPlaceOptions(approval.command("grant").description("grant what somebody else requested").argument("<id>"))
    .requiredOption("--reason <text>", "why, for the record")
    .action(async (id: string, options: ReasonOptions) => {
      print(
        formatApproval(await grantApproval(await adminClient(options.server, options), id, options.reason), Date.now()),
      );
    });
  addPlaceOptions(
    approval.command("revoke").description("take back an approval or a request, for good").argument("<id>"),
  )
    .requiredOption("--reason <text>", "why, for the record")
    .action(async (id: string, options: ReasonOptions) => {
      const revoked = await revokeApproval(await adminClient(options.server, options), id, options.reason);
      print(formatApproval(revoked, Date.now()));
      const { version, application, stillApprovedBy } = revoked;
      if (stillApprovedBy.length === 0) return;
      const by = printableLines(stillApprovedBy.join(", "));
      process.stderr.write(`warning: ${version} may go on to answer ${application}: it is approved by ${by}\n`);
    });
  addPlaceOptions(approval.command("list").description("show every approval that was requested, and who did what"))
    .addOption(new Option("--format <format>", "how to print it").choices(["text", "json"]).default("text"))
    .action(list);
  return approval;
}

function addPlaceOptions(command: Command): Command {
  command.option("--server <addr>", "admin API of control", DEFAULT_ADDRESSES.control);
  return addAdminAccess(command, "file with your bearer token");
}

async function request(version: string, application: string, options: RequestOptions): Promise<void> {
  const { jurisdiction, condition, reason } = options;
  const until = options.for === undefined ? options.until : Date.now() + options.for;
  const id = await requestApproval(await adminClient(options.server, options), {
    ...{ version, application, jurisdictions: [...jurisdiction], conditions: [...condition], reason },
    ...(until === undefined ? {} : { until: timestampFromMs(until) }),
  });
  print(`${id}  requested: somebody else grants it with "chancery approval grant ${id}"`);
}

async function list(options: ListOptions): Promise<void> {
  const { approvals, refused } = await listApprovals(await adminClient(options.server, options));
  if (options.format === "json") print(JSON.stringify(approvals.map(toJson), undefined, 2));
  else
    print(
      approvals.length === 0 ? "no approvals" : approvals.map((each) => formatApproval(each, Date.now())).join("\n"),
    );
  if (refused > 0)
    process.stderr.write(`warning: ${refused} log entries were refused: the log of the server says why\n`);
}

/** @param now  milliseconds since the epoch */
function formatApproval(approval: Approval, now: number): string {
  const { id, state, version, application, identity, jurisdictions, conditions, until, requested, granted, revoked } =
    approval;
  const where = jurisdictions.length === 0 ? "everywhere" : `in ${jurisdictions.join(", ")}`;
  const days = until === undefined ? 0 : Math.floor((timestampDate(until).getTime() - now) / 86_400_000);
  const left = state === "ended" || state === "revoked" || days < 1 ? "" : ` (${days}d)`;
  const end = until === undefined ? "" : `  until ${text(until)}${left}`;
  const line = (verb: string, step: ApprovalStep | undefined): readonly string[] =>
    step === undefined ? [] : [`  ${verb} by ${step.by} at ${text(step.at)}: ${step.reason}`];
  return [
    `${id}  ${state}  ${version} for ${application} ${where}${end}`,
    ...(identity === undefined ? [] : [`  of ${identityText(identity)}`]),
    ...conditions.map((condition) => `  condition: ${condition}`),
    ...line("requested", requested),
    ...line("granted", granted),
    ...line("revoked", revoked),
  ].join("\n");
}

function identityText({ model, version, provider, digest }: ApprovedIdentity): string {
  return `${model} ${version} of ${provider}, ${digest === "" ? "no digest" : digest}`;
}

function toJson(approval: Approval): object {
  const { id, state, version, application, identity, jurisdictions, conditions, until, requested, granted, revoked } =
    approval;
  const step = (each: ApprovalStep | undefined) =>
    each === undefined ? undefined : { by: each.by, at: text(each.at), reason: each.reason };
  return {
    ...{ id, state, version, application, jurisdictions, conditions },
    ...(identity === undefined ? {} : { identity: shownIdentity(identity) }),
    ...(until === undefined ? {} : { until: text(until) }),
    ...{ requested: step(requested), granted: step(granted), revoked: step(revoked) },
  };
}

function shownIdentity({ model, version, provider, digest }: ApprovedIdentity): object {
  return { model, version, provider, ...(digest === "" ? {} : { digest }) };
}

function text(timestamp: Timestamp | undefined): string {
  if (timestamp === undefined) throw new ChanceryError("corrupt", "the server answered without a time");
  return timestampDate(timestamp).toISOString();
}

function print(text: string): void {
  process.stdout.write(`${printableLines(text)}\n`);
}
