import { parse } from "yaml";
import { z } from "zod";
import { ChanceryError } from "../resources/index.ts";
import type { Credential } from "./principal.ts";

const MAX_PRINCIPALS = 1_024;
const schema = z
  .array(
    z.strictObject({
      name: z.string().regex(/^[\x21-\x7e]{1,128}$/, "is not a name of 1 to 128 printable characters without spaces"),
      roles: z.array(z.enum(["requester", "approver"])).max(2),
      tokenSha256: z.string().regex(/^[0-9a-f]{64}$/, "is not 64 hex digits: printf %s TOKEN | sha256sum"),
    }),
  )
  .max(MAX_PRINCIPALS);
/** Names that the API gives to others. */
const RESERVED: readonly string[] = ["local", "operator"];

/**
 * Reads a list of principals, `[{name, roles: [requester, approver], tokenSha256}]`, as YAML or JSON.
 *
 * @param file  for messages
 * @throws ChanceryError "invalid-argument"
 */
export function parsePrincipals(text: string, file: string): readonly Credential[] {
  const wrong = (what: string): ChanceryError =>
    new ChanceryError("invalid-argument", `principals in ${file}: ${what}`);
  let value: unknown;
  try {
    value = parse(text, { maxAliasCount: 0 });
  } catch {
    // The message of the parser would quote the text.
    throw wrong("neither YAML nor JSON");
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw wrong(z.prettifyError(parsed.error).replaceAll(/\s+/g, " ").slice(0, 500));
  const [names, tokens] = [new Set<string>(RESERVED), new Set<string>()];
  return parsed.data.map(({ name, roles, tokenSha256 }) => {
    if (names.has(name))
      throw wrong(`the name "${name}" ${RESERVED.includes(name) ? "is reserved" : "is there twice"}`);
    // Two names for one token would be one person with four eyes.
    if (tokens.has(tokenSha256)) throw wrong(`"${name}" has the token of another`);
    names.add(name);
    tokens.add(tokenSha256);
    return { principal: { name, roles: new Set(roles) }, tokenSha256: Buffer.from(tokenSha256, "hex") };
  });
}
