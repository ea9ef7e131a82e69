import { z } from "zod";

/**
 * How a stand-in server misbehaves. Set for all requests by `POST /__behaviour`, or for one request by words in its
 * prompt (`[[status=500 delayMs=200]]`) or in its header `x-stand-in` (`status=500`).
 */
export const behaviourSchema = z.strictObject({
  /** Status of the answer; anything but 200 comes with an error body. */
  status: z.int().min(200).max(599).default(200),
  /** Milliseconds before the response headers. */
  delayMs: z.int().min(0).max(600_000).default(0),
  /** Closes the connection with a TCP reset in place of an answer. */
  reset: z.boolean().default(false),
  /** Chunks of a streamed answer. */
  chunks: z.int().min(1).max(10_000).default(5),
  /** Milliseconds between the chunks of a streamed answer. */
  gapMs: z.int().min(0).max(600_000).default(0),
  /** Closes the connection after this many chunks of a streamed answer, before its end; 0: never. */
  cutAfterChunks: z.int().min(0).max(10_000).default(0),
  /** Puts what arrived (method, path, headers) into the answer, under `received`. */
  echo: z.boolean().default(false),
  /** Requests that behave like this; then the server is well again. 0: all. */
  times: z.int().min(0).max(1_000_000).default(0),
});

export type Behaviour = z.output<typeof behaviourSchema>;
export type BehaviourChange = z.input<typeof behaviourSchema>;

export const WELL: Behaviour = behaviourSchema.parse({});

const DIRECTIVE = /\[\[([^[\]]{1,200})\]\]/g;

/**
 * The behaviour that directives in a text ask of the server `name`, on top of `base`.
 *
 * A directive is `[[NAME,NAME: field=value field …]]`; without names it is for every server that reads it. A field
 * without a value is `true`. Directives that do not parse are left alone: they are prompts, not configuration.
 */
export function behaviourAskedFor(text: string, name: string, base: Behaviour): Behaviour {
  let behaviour = base;
  for (const [, directive] of text.matchAll(DIRECTIVE)) {
    if (directive !== undefined) behaviour = applyDirective(directive, name, behaviour);
  }
  return behaviour;
}

/** As `behaviourAskedFor`, for one directive without its brackets. */
export function applyDirective(directive: string, name: string, base: Behaviour): Behaviour {
  const colon = directive.indexOf(":");
  const names = colon < 0 ? [] : directive.slice(0, colon).split(",");
  if (names.length > 0 && !names.some((each) => each.trim() === name)) return base;
  const asked: Record<string, unknown> = { ...base };
  for (const word of directive.slice(colon + 1).split(/\s+/)) {
    if (word === "") continue;
    const [field = "", value] = word.split("=", 2);
    asked[field] = value === undefined || value === "true" ? true : value === "false" ? false : Number(value);
  }
  const parsed = behaviourSchema.safeParse(asked);
  return parsed.success ? parsed.data : base;
}
