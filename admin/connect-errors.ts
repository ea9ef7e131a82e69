import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { ChanceryError, type ErrorCode } from "../resources/index.ts";

const CODES: Readonly<Record<ErrorCode, Code>> = {
  "invalid-argument": Code.InvalidArgument,
  "invalid-resources": Code.FailedPrecondition,
  "invalid-envoy-resource": Code.FailedPrecondition,
  "not-found": Code.NotFound,
  conflict: Code.AlreadyExists,
  corrupt: Code.InvalidArgument,
  untrusted: Code.PermissionDenied,
  "self-approval": Code.PermissionDenied,
  forbidden: Code.PermissionDenied,
  stale: Code.FailedPrecondition,
  "unsupported-format": Code.Unimplemented,
  unavailable: Code.Unavailable,
  "missing-tool": Code.FailedPrecondition,
  internal: Code.Internal,
};

/** Name of the header that carries our own code, finer than Connect's. */
export const ERROR_HEADER = "chancery-error";

/** Our errors in the words of Connect; what is not ours is a defect and says nothing of itself to the caller. */
export function translateErrors(onDefect: (error: unknown) => void): Interceptor {
  return (next) => async (request) => {
    try {
      return await next(request);
    } catch (thrown) {
      if (thrown instanceof ConnectError) throw thrown;
      if (!(thrown instanceof ChanceryError) || thrown.code === "internal") {
        onDefect(thrown);
        throw new ConnectError("the server failed: its log says how", Code.Internal);
      }
      throw new ConnectError(thrown.message, CODES[thrown.code], { [ERROR_HEADER]: thrown.code });
    }
  };
}
