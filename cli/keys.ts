import { stat } from "node:fs/promises";
import { join } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import { ChanceryError, printable } from "../resources/index.ts";
import { initKeys, loadTrust, PURPOSES, type Purpose, rotateKeys } from "../revision/index.ts";
import { DEFAULT_ADDRESSES } from "./address.ts";
import { type AdminAccess, addAdminAccess, adminClient } from "./admin-client.ts";
import { makeNatsUsers } from "./nats-users.ts";
import { collect, parseCount } from "./options.ts";
import { demandNothingHangs } from "./retire-keys.ts";

interface InitOptions {
  readonly signingKeys: number;
  readonly threshold: number;
  readonly restrictionKeys?: number;
  readonly days: number;
}

interface RotateOptions extends AdminAccess {
  readonly root?: string;
  readonly days: number;
  readonly for: readonly Purpose[];
  readonly retire: readonly string[];
  readonly retireOnly: boolean;
  readonly server: string;
  readonly dropSigned: boolean;
}

const ROTATE_HELP = `
The root vouches for the new key; the trust file is written anew and travels with the next revision, so that no other
machine needs a visit. In order: rotate, restart the control planes with the new key, and when the fleet runs a revision
that it signed, rotate again with --retire-only --retire OLD-KEY. A key that was stolen goes the same way, at once.

Control signs the restrictions that it knows, and the approvals, with its own key, too. Before a key is retired, it is asked
(--server) whether anything still hangs on the old one: what that closed must not be opened by it. --drop-signed
asks nobody: restrictions that the key alone signed are over at the next start of each process, approvals are not granted.

Examples:
  chancery keys rotate keys
  chancery keys rotate keys --root /media/offline/root.pem --retire-only --retire 4f1c0a9be27d1133
  chancery keys rotate keys --retire-only --retire 4f1c0a9be27d1133 --server https://hub:7070 --ca ca.pem --token-file token
`;

const NATS_HELP = `
Prints lines for the environment of nats-server; the seeds are for --nats-creds of each process.

Example:
  chancery keys nats nkeys control eu > hub.env
`;

const HELP = `
Example:
  chancery keys init keys
      keys/root.pem        vouches for signing keys: keep it offline
      keys/signing-1.pem   signs revisions: for the control plane alone
      keys/restriction-1.pem  (--restriction-keys 1) signs restrictions alone: for whoever may stop traffic
      keys/trust.json      public keys: for every process that loads revisions (--trust)
`;

/** `chancery keys init DIR` */
export function keysCommand(): Command {
  const keys = new Command("keys");
  keys
    .command("init")
    .description("make a root key, signing keys and the trust file in a directory; nothing is overwritten")
    .argument("<dir>", "where to write them; made with mode 0700")
    .option("--signing-keys <n>", "how many signing keys", parseCount, 1)
    .option("--threshold <n>", "how many of them must sign a revision", parseCount, 1)
    .option(
      "--restriction-keys <n>",
      "how many keys that sign restrictions alone (chancery quarantine --key)",
      parseCount,
    )
    .option("--days <n>", "how long the signing keys are valid", parseCount, 365)
    .addHelpText("after", HELP)
    .action(async (directory: string, options: InitOptions) => {
      const files = await initKeys(directory, {
        now: Date.now(),
        validityDays: options.days,
        signingKeys: options.signingKeys,
        threshold: options.threshold,
        ...(options.restrictionKeys === undefined ? {} : { restrictionKeys: options.restrictionKeys }),
      });
      process.stdout.write(`root key      ${files.root}  ${files.rootKeyId}  (keep it offline)\n`);
      for (const key of files.signing) process.stdout.write(`signing key   ${key.file}  ${key.keyId}\n`);
      for (const key of files.restriction) process.stdout.write(`restriction   ${key.file}  ${key.keyId}\n`);
      process.stdout.write(`trust file    ${files.trust}\n`);
    });
  const rotate = keys
    .command("rotate")
    .description("make a new signing key that the root vouches for, or have it vouch no more for old ones")
    .argument("<dir>", "where trust file and keys are")
    .option("--root <file>", "private key of the root (default: root.pem in the directory)")
    .option("--days <n>", "how long the new key is valid", parseCount, 365)
    .addOption(
      new Option("--for <purpose>", "what the new key may sign; again for more (default: everything)")
        .choices(PURPOSES)
        .argParser((value, previous: readonly Purpose[]) => [...previous, purposeOf(value)])
        .default([], "everything"),
    )
    .option("--retire <id>", "key that is believed no more; again for more", collect, [])
    .option("--retire-only", "make no new key", false)
    .option("--server <addr>", "with --retire: admin API of control", DEFAULT_ADDRESSES.control)
    .option("--drop-signed", "with --retire: ask nobody; what the key alone signed counts no more", false);
  addAdminAccess(rotate, "file with the bearer token of the admin API")
    .addHelpText("after", ROTATE_HELP)
    .action(async (directory: string, options: RotateOptions) => {
      if (options.retireOnly && options.retire.length === 0) {
        throw new ChanceryError("invalid-argument", "--retire-only needs --retire KEY: nothing would change");
      }
      const notes =
        options.retire.length === 0 || options.dropSigned
          ? []
          : await demandNothingHangs(
              await adminClient(options.server, options),
              await loadTrust(join(directory, "trust.json")),
              options.retire,
              Date.now(),
            );
      const rotated = await rotateKeys(directory, {
        now: Date.now(),
        ...(options.root === undefined ? {} : { root: options.root }),
        validityDays: options.days,
        ...(options.retireOnly ? { add: "none" } : options.for.length > 0 ? { add: [...options.for] } : {}),
        retire: options.retire,
      });
      if (rotated.added !== undefined) {
        process.stdout.write(`new key       ${rotated.added.file}  ${rotated.added.keyId}\n`);
      }
      for (const keyId of rotated.retired) process.stdout.write(`retired       ${keyId}\n`);
      process.stdout.write(`trust file    ${rotated.trust}  serial ${rotated.serial}\n`);
      for (const note of notes) process.stderr.write(`warning: ${printable(note)}\n`);
    });
  keys
    .command("show")
    .description("list the keys of a trust file, what each may sign, and until when")
    .argument("<file>", "trust file, or the directory that has it")
    .action(async (path: string) => {
      const file = (await stat(path).catch(() => undefined))?.isDirectory() === true ? join(path, "trust.json") : path;
      const trust = await loadTrust(file);
      const now = Date.now();
      process.stdout.write(`root ${trust.rootKeyId}  serial ${trust.serial}  revisions need ${trust.threshold}\n`);
      for (const key of trust.keys.values()) {
        const state = now > key.notAfter ? "EXPIRED" : now < key.notBefore ? "not yet valid" : "valid";
        const until = new Date(key.notAfter).toISOString();
        process.stdout.write(`key  ${key.keyId}  ${state} until ${until}  ${[...key.purposes].join(", ")}\n`);
      }
    });
  keys
    .command("nats")
    .description("make NATS users: a seed file each, and the public key as deploy/nats names it")
    .argument("<dir>", "where to write the seeds; made with mode 0700")
    .argument("<user...>", "names: control, relay, xds, authz, operator, eu, …")
    .addHelpText("after", NATS_HELP)
    .action(async (directory: string, names: readonly string[]) => {
      for (const { name, publicKey } of await makeNatsUsers(directory, names)) {
        process.stdout.write(`${name.toUpperCase().replaceAll("-", "_")}_NKEY=${publicKey}\n`);
      }
    });
  return keys;
}

function purposeOf(text: string): Purpose {
  const purpose = PURPOSES.find((each) => each === text);
  if (purpose === undefined) throw new InvalidArgumentError(`It must be one of ${PURPOSES.join(", ")}.`);
  return purpose;
}
