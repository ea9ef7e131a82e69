import { Command } from "commander";
import { initKeys } from "../revision/index.ts";
import { parseCount } from "./options.ts";

interface InitOptions {
  readonly signingKeys: number;
  readonly threshold: number;
  readonly restrictionKeys?: number;
  readonly days: number;
}

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
  return keys;
}
