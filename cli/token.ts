import { readFile } from "node:fs/promises";
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
