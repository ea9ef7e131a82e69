import { RE2JS } from "re2js";

/** What is wrong with an RE2 expression; undefined when it compiles. Linear-time syntax only, as Envoy has it. */
export function re2Problem(pattern: string): string | undefined {
  try {
    RE2JS.compile(pattern);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
