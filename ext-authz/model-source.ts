import type { RequestAttributes } from "../policy/index.ts";
import type { ModelSource } from "../resources/index.ts";
import { queryValues } from "./canonical-path.ts";
import type { Check } from "./check-request.ts";
import { type Refusal, refusal } from "./denials.ts";
import { type JsonSpan, scanJson } from "./json-scanner.ts";

/** Reads the requested model's name out of a request; made once per route. */
export type ModelReader = (check: Check, request: RequestAttributes) => ModelReading;

export type ModelReading =
  | {
      readonly ok: true;
      /** Absent: the route stands for its one model. */
      readonly name?: string;
      /** Where the name stands in the body, to be replaced there. */
      readonly span?: JsonSpan;
      readonly stream: boolean;
    }
  | Refusal;

const MAX_NAME = 256;

/** @returns undefined for a source that this build cannot read (a pointer below the top level of the body) */
export function modelReader(source: ModelSource): ModelReader | undefined {
  switch (source.type) {
    case "route":
      return (_, request) => ({ ok: true, stream: acceptsEvents(request) });
    case "header": {
      const name = source.header.toLowerCase();
      return (_, request) => one(request.headers.get(name) ?? [], `header ${name}`, request);
    }
    case "query":
      return (_, request) =>
        one(queryValues(request.query, source.parameter), `query parameter ${source.parameter}`, request);
    case "path": {
      const template = pathTemplate(source.template);
      return (_, request) => {
        const match = template.exec(request.url_path);
        return one(match?.[1] === undefined ? [] : [match[1]], "path", request);
      };
    }
    case "body": {
      const member = topLevelMember(source.pointer);
      return member === undefined ? undefined : (check, request) => readBody(check, request, member);
    }
  }
}

function one(values: readonly string[] | undefined, where: string, request: RequestAttributes): ModelReading {
  if (values === undefined || values.length > 1) {
    return refusal("ambiguous_model", `The ${where} does not name one model.`);
  }
  const [name] = values;
  if (name === undefined || name === "") return refusal("model_missing", `The ${where} names no model.`);
  return usable(name) ? { ok: true, name, stream: acceptsEvents(request) } : refusal("ambiguous_model");
}

/** Names end up in answers, records and log lines: one line of text, of bounded length. */
function usable(name: string): boolean {
  return name.length <= MAX_NAME && name.isWellFormed() && !/[\p{Cc}\p{Zl}\p{Zp}]/u.test(name);
}

/** Where no body says whether a stream is wanted, the client does by what it accepts. */
function acceptsEvents(request: RequestAttributes): boolean {
  return request.headers.get("accept")?.some((value) => /(^|,)\s*text\/event-stream\s*(;|,|$)/i.test(value)) ?? false;
}

function readBody(check: Check, request: RequestAttributes, member: string): ModelReading {
  const body = check.http.rawBody;
  // `pack_as_bytes` is off: Envoy has written "!" for what is not UTF-8, and offsets would be wrong.
  if (check.http.body !== "") return refusal("malformed_check");
  if (isPartial(check, body.length)) return refusal("body_too_large");
  const problem = contentProblem(request.headers);
  if (problem !== undefined) return refusal("unsupported_body", problem);
  const scan = scanJson(body, member);
  if (!scan.ok) return refusal("malformed_body", `The body is refused: ${scan.problem} (byte ${scan.offset}).`);
  if (scan.otherType) return refusal("model_missing", `"${member}" is not a string.`);
  if (scan.value === undefined || scan.span === undefined || scan.value === "") {
    return refusal("model_missing", `The body has no member "${member}" that names a model.`);
  }
  if (!usable(scan.value)) return refusal("ambiguous_model");
  return { ok: true, name: scan.value, span: scan.span, stream: scan.stream };
}

/** Envoy sets `x-envoy-auth-partial-body` itself whenever it sends a body; a client's own is overwritten. */
function isPartial(check: Check, length: number): boolean {
  const { headers } = check;
  if (headers.get("x-envoy-auth-partial-body")?.includes("true") === true) return true;
  const declared = headers.get("content-length")?.[0];
  return (declared !== undefined && declared !== String(length)) || check.http.size > length;
}

/** A missing content type is taken: the body itself must pass for JSON, and clients of old leave it out. */
function contentProblem(headers: ReadonlyMap<string, readonly string[]>): string | undefined {
  const encodings = headers.get("content-encoding") ?? [];
  if (encodings.some((value) => value !== "" && value.toLowerCase() !== "identity")) {
    return "The body is encoded; send it without content-encoding.";
  }
  const types = headers.get("content-type") ?? [];
  if (types.length > 1) return "The request has more than one content-type.";
  const [type, ...parameters] = (types[0] ?? "application/json").toLowerCase().split(";");
  if (!/^\s*application\/([a-z0-9!#$&^_.-]+\+)?json\s*$/.test(type ?? "")) return "The content-type is not JSON.";
  for (const parameter of parameters) {
    const [name = "", value = ""] = parameter.split("=");
    if (name.trim() === "charset" && !/^"?utf-?8"?$/.test(value.trim())) return "The charset is not UTF-8.";
  }
  return undefined;
}

/** "/model" → "model" (RFC 6901); undefined for the whole document and for what lies deeper. */
function topLevelMember(pointer: string): string | undefined {
  if (!/^\/[^/]+$/.test(pointer)) return undefined;
  return pointer.slice(1).replaceAll("~1", "/").replaceAll("~0", "~");
}

/** "/v1/models/{model}/generate": the braces stand for one segment, or a part of one. */
function pathTemplate(template: string): RegExp {
  const [before = "", after = ""] = template.split("{model}");
  return new RegExp(`^${escapeRegExp(before)}([^/]+?)${escapeRegExp(after)}$`);
}

function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
