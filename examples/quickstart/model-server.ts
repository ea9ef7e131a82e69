/**
 * A stand-in for a model server that speaks the OpenAI API: chat completions, completions and the list of models,
 * streamed and whole. Its answers say who answered; its control endpoints make it fail.
 */
import type { ServerResponse } from "node:http";
import { parseArgs } from "node:util";
import { z } from "zod";
import { type Behaviour, behaviourAskedFor } from "./behaviour.ts";
import { runStandIn } from "./run-stand-in.ts";
import {
  type Exchange,
  misbehave,
  pause,
  readBody,
  type StandIn,
  type StandInOptions,
  sendJson,
  startStandIn,
} from "./stand-in.ts";

export interface ModelServerOptions extends StandInOptions {
  /** Where it pretends to run: "EU". */
  readonly region?: string;
  /** The credential it expects as `Authorization: Bearer`; absent: anything goes. */
  readonly apiKey?: string;
  /** Names on the wire that it serves; absent: every name. */
  readonly models?: readonly string[];
}

const BODY_LIMIT = 32 * 1024 * 1024;

const completionSchema = z.looseObject({
  model: z.string(),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  prompt: z.unknown().optional(),
  messages: z.array(z.looseObject({ role: z.string(), content: z.unknown().optional() })).optional(),
});
type CompletionRequest = z.output<typeof completionSchema>;

/** Starts a stand-in model server in this process. */
export function startModelServer(options: ModelServerOptions): Promise<StandIn> {
  return startStandIn(options, (exchange) => answer(exchange, options));
}

async function answer(exchange: Exchange, options: ModelServerOptions): Promise<void> {
  const { request, response, url } = exchange;
  if (options.apiKey !== undefined && request.headers.authorization !== `Bearer ${options.apiKey}`) {
    exchange.noteWrongCredential();
    return sendError(response, options, 401, "invalid_api_key", "Incorrect API key provided");
  }
  if (request.method === "GET" && url.pathname.endsWith("/models")) {
    const data = (options.models ?? []).map((id) => ({ id, object: "model", created: 0, owned_by: options.name }));
    return sendJson(response, 200, { object: "list", data }, served(options));
  }
  const chat = url.pathname.endsWith("/chat/completions");
  if (request.method !== "POST" || !(chat || url.pathname.endsWith("/completions"))) {
    return sendError(response, options, 404, "not_found", `no ${request.method} ${url.pathname} here`);
  }
  let body: CompletionRequest;
  try {
    body = completionSchema.parse(JSON.parse((await readBody(request, BODY_LIMIT)).toString("utf8")));
  } catch (error) {
    return sendError(response, options, 400, "invalid_request_error", String(error));
  }
  exchange.noteModel(body.model);

  const behaviour = behaviourAskedFor(lastWords(body), options.name, exchange.behaviour);
  if (!(await misbehave(exchange, behaviour))) return;
  if (behaviour.status !== 200) {
    return sendError(response, options, behaviour.status, "stand_in", `${options.name} was told to fail`);
  }
  if (options.models !== undefined && !options.models.includes(body.model)) {
    return sendError(response, options, 404, "model_not_found", `${options.name} does not serve "${body.model}"`);
  }
  const common = {
    id: `${chat ? "chatcmpl" : "cmpl"}-${options.name}`,
    created: 0,
    model: body.model,
    served_by: { name: options.name, region: options.region ?? "", model: body.model },
    ...(behaviour.echo ? { received: { method: request.method, path: request.url, headers: request.headers } } : {}),
  };
  const text = `${options.name} answers as ${body.model}.`;
  if (body.stream === true) return streamAnswer(exchange, options, body, behaviour, chat, common, text);
  const choice = chat
    ? { index: 0, message: { role: "assistant", content: text, refusal: null }, logprobs: null, finish_reason: "stop" }
    : { index: 0, text, logprobs: null, finish_reason: "stop" };
  const object = chat ? "chat.completion" : "text_completion";
  sendJson(response, 200, { ...common, object, choices: [choice], usage: USAGE }, served(options));
}

const USAGE = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };

async function streamAnswer(
  exchange: Exchange,
  options: ModelServerOptions,
  body: CompletionRequest,
  behaviour: Behaviour,
  chat: boolean,
  common: object,
  text: string,
): Promise<void> {
  const { response, request } = exchange;
  const object = chat ? "chat.completion.chunk" : "text_completion";
  const send = (choices: readonly object[], rest: object = {}): void => {
    response.write(`data: ${JSON.stringify({ ...common, object, choices, ...rest })}\n\n`);
  };
  const choice = (content: string, finish: "stop" | null): object =>
    chat
      ? { index: 0, delta: finish === null ? { role: "assistant", content } : {}, finish_reason: finish }
      : { index: 0, text: content, finish_reason: finish };
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache", ...served(options) });
  for (const [index, piece] of pieces(text, behaviour.chunks).entries()) {
    if (index > 0) await pause(response, behaviour.gapMs);
    if (response.destroyed) return;
    if (behaviour.cutAfterChunks > 0 && index === behaviour.cutAfterChunks) {
      // Not a reset: that would overtake the chunks before it.
      request.socket.destroySoon();
      return;
    }
    send([choice(piece, null)]);
  }
  send([choice("", "stop")]);
  if (body.stream_options?.include_usage === true) send([], { usage: USAGE });
  response.end("data: [DONE]\n\n");
}

/** Cuts a text into `count` pieces, some of them empty when the text is short. */
function pieces(text: string, count: number): string[] {
  const size = Math.ceil(text.length / count);
  return Array.from({ length: count }, (_, index) => text.slice(index * size, (index + 1) * size));
}

/** The prompt, or the text of the last message: where a test puts its directives. */
function lastWords(body: CompletionRequest): string {
  const content = body.messages?.at(-1)?.content ?? body.prompt;
  const text = typeof content === "string" ? content : (JSON.stringify(content) ?? "");
  return text.slice(0, 4_096);
}

function served(options: ModelServerOptions): Record<string, string> {
  return { "x-served-by": options.name };
}

function sendError(
  response: ServerResponse,
  options: ModelServerOptions,
  status: number,
  code: string,
  message: string,
): void {
  const error = { message, type: status >= 500 ? "server_error" : "invalid_request_error", param: null, code };
  sendJson(response, status, { error, served_by: { name: options.name } }, served(options));
}

const USAGE_TEXT = `Usage: node examples/quickstart/model-server.ts --name NAME [options]

A stand-in for an OpenAI-compatible model server.

  --name NAME       who answers
  --region REGION   where it pretends to run
  --port PORT       0: a free one
  --address ADDR    127.0.0.1 by default
  --api-key KEY     the bearer token it expects; without it anything goes
  --model NAME      a model it serves (repeatable); without it every name

  GET  /__stats       what was received (DELETE forgets it)
  POST /__behaviour   {"status":503} | {"delayMs":2000} | {"reset":true} | {"gapMs":100,"chunks":20} | {} (well again)
`;

if (import.meta.main) {
  await runStandIn(USAGE_TEXT, () => {
    const { values } = parseArgs({
      options: {
        name: { type: "string" },
        region: { type: "string" },
        port: { type: "string", default: "0" },
        address: { type: "string", default: "127.0.0.1" },
        "api-key": { type: "string" },
        model: { type: "string", multiple: true },
        help: { type: "boolean", short: "h" },
      },
    });
    if (values.help === true || values.name === undefined) return undefined;
    return startModelServer({
      name: values.name,
      port: Number(values.port),
      address: values.address,
      ...(values.region === undefined ? {} : { region: values.region }),
      ...(values["api-key"] === undefined ? {} : { apiKey: values["api-key"] }),
      ...(values.model === undefined ? {} : { models: values.model }),
    });
  });
}
