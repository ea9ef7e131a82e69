/** Every code that a ChanceryError can carry, with what it means. The registry is documented in docs/errors.md. */
export const ERROR_CODES = {
  "invalid-argument": "A command-line argument or option is not usable.",
  "invalid-resources": "What people wrote does not pass the check; the problems are listed.",
  "invalid-envoy-resource": "A generated Envoy resource breaks a rule that Envoy's protos carry.",
  "not-found": "A file, object or part that was named does not exist.",
  conflict: "Somebody else appended first; read again and retry.",
  corrupt: "Stored or received bytes do not match their digest or cannot be decoded.",
  untrusted: "A signature is missing, wrong, or not covered by the trust file.",
  "self-approval": "Whoever requested an approval may not grant it: four eyes.",
  forbidden: "The caller's roles do not allow what was asked for.",
  stale: "A revision older than the one in force was offered.",
  "unsupported-format": "A part has a format version that this build does not read.",
  unavailable: "A process, address, file or disk that is needed does not answer, or is not to be used.",
  "missing-tool": "A program that is needed was not found and could not be fetched.",
  internal: "A defect of Chancery.",
} as const;
export type ErrorCode = keyof typeof ERROR_CODES;

/** errno(3) of what a machine lacks or does not allow, whoever asks. */
const OF_THE_MACHINE: ReadonlySet<string> = new Set([
  ...["EACCES", "EPERM", "EROFS", "ENOSPC", "EDQUOT", "EIO", "EMFILE", "ENFILE", "ENOTDIR", "EISDIR", "ELOOP"],
  ...["ENAMETOOLONG", "EADDRINUSE", "EADDRNOTAVAIL", "ECONNREFUSED", "ENOMEM"],
]);

function isOfTheMachine(thrown: unknown): boolean {
  return thrown instanceof Error && "code" in thrown && OF_THE_MACHINE.has(String(thrown.code));
}

/** The one error class. `message` says what was wrong, where, and what to do. */
export class ChanceryError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "ChanceryError";
    this.code = code;
  }

  /**
   * Wraps whatever was thrown; a ChanceryError stays as it is. What the machine refuses (a full disk, a file that is
   * somebody else's) is no defect of ours, and "unavailable" unless another code is given.
   */
  static from(thrown: unknown, code: ErrorCode = isOfTheMachine(thrown) ? "unavailable" : "internal"): ChanceryError {
    if (thrown instanceof ChanceryError) return thrown;
    return new ChanceryError(code, thrown instanceof Error ? thrown.message : String(thrown), { cause: thrown });
  }
}
