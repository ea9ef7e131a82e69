import { create, type JsonObject, toBinary } from "@bufbuild/protobuf";
import { DECISION_HEADER } from "../envoy/index.ts";
import { CheckResponseSchema } from "../protos/gen/envoy/service/auth/v3/external_auth_pb.ts";
import { StatusCode } from "../protos/gen/envoy/type/v3/http_status_pb.ts";
import { DENIALS, type DenialCode, GRPC, isFailure } from "./denials.ts";
import type { CredentialHeader } from "./identity.ts";

/** What Envoy is told. */
export type Answer =
  | {
      readonly kind: "allow";
      readonly decisionId: string;
      /** Headers that carried an API key of ours. */
      readonly headersToRemove: readonly CredentialHeader[];
      readonly metadata: JsonObject;
    }
  | {
      readonly kind: "refuse";
      readonly decisionId: string;
      readonly code: DenialCode;
      /** Rule id, "" where no rule spoke. */
      readonly rule: string;
      readonly message: string;
      /** Content type of a gRPC call, which is answered by gRPC status; absent: JSON. */
      readonly grpc?: string;
      readonly metadata: JsonObject;
    }
  /** The decision service answers the request itself, with 200. */
  | { readonly kind: "reply"; readonly decisionId: string; readonly json: string; readonly metadata: JsonObject };

/**
 * Envoy takes three wrong answers for an allow: an empty CheckResponse, and a `denied_response` or `error_response` whose
 * `status.code` is 0. This is the only place where answers are made, and only "allow" has the code 0.
 *
 * @returns `envoy.service.auth.v3.CheckResponse` bytes
 */
export function encodeAnswer(answer: Answer): Uint8Array {
  if (answer.kind === "allow") {
    return toBinary(
      CheckResponseSchema,
      create(CheckResponseSchema, {
        status: { code: 0 },
        httpResponse: {
          case: "okResponse",
          value: {
            // The one header that re-picks the route (`clear_route_cache_headers`). `append` stays unset: it replaces.
            headers: [{ header: { key: DECISION_HEADER, value: answer.decisionId } }],
            headersToRemove: [...answer.headersToRemove],
          },
        },
        dynamicMetadata: answer.metadata,
      }),
    );
  }
  const { status, headers, body } = answer.kind === "reply" ? reply(answer.json) : refusalShape(answer);
  const failed = answer.kind === "refuse" && isFailure(answer.code);
  return toBinary(
    CheckResponseSchema,
    create(CheckResponseSchema, {
      status: { code: failed ? GRPC.UNAVAILABLE : GRPC.PERMISSION_DENIED },
      httpResponse: {
        case: failed ? "errorResponse" : "deniedResponse",
        value: {
          status: { code: status },
          headers: [...headers, [DECISION_HEADER, answer.decisionId] as const].map(([key, value]) => ({
            header: { key, value },
          })),
          body,
        },
      },
      dynamicMetadata: answer.metadata,
    }),
  );
}

interface HttpShape {
  readonly status: StatusCode;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: string;
}

function reply(json: string): HttpShape {
  return { status: StatusCode.OK, headers: [["content-type", "application/json"]], body: json };
}

function refusalShape(answer: Answer & { kind: "refuse" }): HttpShape {
  const shape = DENIALS[answer.code];
  const message = plainText(answer.message);
  const challenge = shape.status === 401 ? ([["www-authenticate", "Bearer"]] as const) : [];
  if (answer.grpc !== undefined) {
    const status = ["grpc-status", String(shape.grpc)] as const;
    const details = `${message} (${answer.code}, decision ${answer.decisionId})`;
    return {
      status: StatusCode.OK,
      headers: [["content-type", answer.grpc], status, ["grpc-message", encodeGrpcMessage(details)], ...challenge],
      body: "",
    };
  }
  const error = {
    message,
    type: shape.type,
    param: answer.code.includes("model") ? "model" : null,
    code: answer.code,
    decision_id: answer.decisionId,
    rule: answer.rule === "" ? null : answer.rule,
  };
  return {
    status: STATUS[shape.status],
    headers: [["content-type", "application/json"], ...challenge],
    body: JSON.stringify({ error }),
  };
}

const STATUS = {
  400: StatusCode.BadRequest,
  401: StatusCode.Unauthorized,
  403: StatusCode.Forbidden,
  404: StatusCode.NotFound,
  413: StatusCode.PayloadTooLarge,
  503: StatusCode.ServiceUnavailable,
} as const;

/** One line of at most 500 characters, whatever people wrote as a reason. */
export function plainText(text: string): string {
  if (isPlain(text)) return text;
  const line = text
    .toWellFormed()
    .replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ")
    .trim();
  return line.length <= 500 ? line : `${line.slice(0, 499).toWellFormed()}…`;
}

/** Whether all of it is visible ASCII, with single spaces within. */
function isPlain(text: string): boolean {
  if (text.length > 500) return false;
  let before = 0x20;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code < 0x20 || code > 0x7e || (code === 0x20 && before === 0x20)) return false;
    before = code;
  }
  return text === "" || before !== 0x20;
}

/** @see https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md "Percent-Encoded" */
function encodeGrpcMessage(message: string): string {
  let encoded = "";
  for (const byte of Buffer.from(message)) {
    encoded +=
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return encoded;
}
