import { readFile, stat } from "node:fs/promises";
import { type Credential, parsePrincipals } from "../admin/index.ts";
import { ChanceryError } from "../resources/index.ts";

/** The bearer token of the admin API, from a file: an argument could be seen by every user of the machine. */
export async function readToken(file: string): Promise<string> {
  let token: string;
  try {
    token = (await readFile(file, "utf8")).trim();
  } catch (cause) {
    throw new ChanceryError("not-found", `the token file ${file} cannot be read`, { cause });
  }
  if (!/^[\x21-\x7e]{16,512}$/.test(token)) {
    throw new ChanceryError("invalid-argument", `the token in ${file} must be one word of 16 to 512 characters`);
  }
  return token;
}

const MAX_PRINCIPALS_BYTES = 1024 * 1024;

/** Who is let in with a token of their own, from the file of `--principals`; nobody without one. */
export async function readPrincipals(file: string | undefined): Promise<readonly Credential[]> {
  if (file === undefined) return [];
  try {
    if ((await stat(file)).size > MAX_PRINCIPALS_BYTES) throw new Error(`more than ${MAX_PRINCIPALS_BYTES} bytes`);
    return parsePrincipals(await readFile(file, "utf8"), file);
  } catch (cause) {
    if (cause instanceof ChanceryError) throw cause;
    throw new ChanceryError("not-found", `the principals file ${file} cannot be read`, { cause });
  }
}
