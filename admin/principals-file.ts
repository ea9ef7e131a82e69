import { parse } from "yaml";
import { z } from "zod";
import { ChanceryError, SCOPE_PATTERN } from "../resources/index.ts";
import type { Credential } from "./principal.ts";

const MAX_PRINCIPALS = 1_024;
const name = z.string().regex(/^[\x21-\x7e]{1,128}$/, "is not a name of 1 to 128 printable characters without spaces");
const scopeName = z
  .string()
  .regex(SCOPE_PATTERN, "is not a scope: a directory of the tree, or . for its root")
  .max(1_024);
const schema = z
  .array(
    z.strictObject({
      name,
      person: z.exactOptional(name),
      roles: z.array(z.enum(["requester", "approver"])).max(2),
      scopes: z.array(scopeName).max(64).default(["."]),
      tokenSha256: z.string().regex(/^[0-9a-f]{64}$/, "is not 64 hex digits: printf %s TOKEN | sha256sum"),
    }),
  )
  .max(MAX_PRINCIPALS);
/** Names that the API gives to others. */
const RESERVED: readonly string[] = ["local", "operator"];

/**
 * Reads a list of principals, `[{name, person, roles: [requester, approver], scopes, tokenSha256}]`, as YAML or JSON.
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
  // Names that differ in case alone would look like two people.
  const [names, tokens] = [new Set<string>(RESERVED), new Set<string>()];
  const persons = new Map(parsed.data.map(({ name, person }) => [folded(name), folded(person ?? name)]));
  return parsed.data.map(({ name, person = name, roles, scopes, tokenSha256 }) => {
    const own = folded(name);
    if (names.has(own)) throw wrong(`the name "${name}" ${RESERVED.includes(own) ? "is reserved" : "is there twice"}`);
    // Two names for one token would be one person with four eyes.
    if (tokens.has(tokenSha256)) throw wrong(`"${name}" has the token of another`);
    const behind = folded(person);
    if ((persons.get(behind) ?? behind) !== behind) {
      throw wrong(`the person of "${name}" is "${person}", who is said to be somebody else`);
    }
    names.add(own);
    tokens.add(tokenSha256);
    const principal = { name, person: behind, roles: new Set(roles), scopes };
    return { principal, tokenSha256: Buffer.from(tokenSha256, "hex") };
  });
}

function folded(name: string): string {
  return name.toLowerCase();
}
