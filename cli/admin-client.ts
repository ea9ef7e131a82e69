import type { Command } from "commander";
import type { AdminClientOptions } from "../admin/index.ts";
import { readCa } from "./certificate-files.ts";
import { readToken } from "./token.ts";

/** How a command is let in at an admin API, and knows it. */
export interface AdminAccess {
  readonly tokenFile?: string;
  readonly ca?: string;
}

/** @param token  whose the token is */
export function addAdminAccess(command: Command, token: string): Command {
  return command
    .option("--token-file <file>", token)
    .option("--ca <file>", "CA (PEM) of an admin API at https://… (default: those of the system)");
}

/** @param control  address of the admin API */
export async function adminClient(control: string, { tokenFile, ca }: AdminAccess): Promise<AdminClientOptions> {
  return {
    control,
    ...(tokenFile === undefined ? {} : { token: await readToken(tokenFile) }),
    ...(ca === undefined ? {} : { ca: await readCa(ca) }),
  };
}
