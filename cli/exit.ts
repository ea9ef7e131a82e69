import { ChanceryError, type ErrorCode, printableLines } from "../resources/index.ts";

/** What an exit code of the command means. */
export const EXIT = {
  ok: 0,
  /** The command ran and found something wrong: errors in resources, a request denied, a revision refused. */
  problem: 1,
  /** An argument or option that is not usable; nothing was done. */
  usage: 2,
  /** A process, address, file or program that is needed is not there. */
  unavailable: 3,
  /** A defect of Chancery. */
  defect: 4,
  /** `chancery diff`: the change can let through what was refused before. */
  loosens: 5,
} as const;

const BY_CODE: Readonly<Record<ErrorCode, number>> = {
  "invalid-argument": EXIT.usage,
  "invalid-resources": EXIT.problem,
  "invalid-envoy-resource": EXIT.problem,
  "not-found": EXIT.unavailable,
  conflict: EXIT.problem,
  corrupt: EXIT.problem,
  untrusted: EXIT.problem,
  "self-approval": EXIT.problem,
  forbidden: EXIT.problem,
  stale: EXIT.problem,
  "unsupported-format": EXIT.problem,
  unavailable: EXIT.unavailable,
  "missing-tool": EXIT.unavailable,
  internal: EXIT.defect,
};

export function exitCodeOf(thrown: unknown): number {
  return BY_CODE[ChanceryError.from(thrown).code];
}

/** Writes an error for a person; the stack only where it is a defect of ours. */
export function formatError(thrown: unknown): string {
  const error = ChanceryError.from(thrown);
  const message = printableLines(error.message);
  if (error.code !== "internal") return `error: ${message} [${error.code}]`;
  const cause = error.cause instanceof Error ? error.cause : error;
  return `error: ${message} [internal]\nThis is a defect of Chancery.\n${printableLines(cause.stack ?? "")}`;
}

export const EXIT_CODES_HELP = `
Exit codes:
  0  done
  1  something is wrong: errors in resources, a request denied, a revision refused
  2  an argument or option is not usable
  3  a process, address, file or program that is needed is not there
  4  a defect of Chancery
  5  diff: the change loosens
`;
