import { JetStreamApiCodes, JetStreamApiError } from "@nats-io/jetstream";
import { errors } from "@nats-io/nats-core";
import { ChanceryError } from "../resources/index.ts";

/** `JSStreamNameExistErr`: there is one with this name and another configuration. */
const NAME_IN_USE = 10058;
/** `JSStreamStoreFailedF`: the text is that of the store. */
const STREAM_STORE_FAILED = 10077;

/** Whether another publisher appended first. */
export function isWrongSequence(thrown: unknown): boolean {
  return (
    hasApiCode(thrown, JetStreamApiCodes.StreamWrongLastSequence) ||
    // A stream with several replicas does not know its sequence for certain.
    hasApiCode(thrown, JetStreamApiCodes.StreamWrongLastSequenceUnknown)
  );
}

export function isNameInUse(thrown: unknown): boolean {
  return hasApiCode(thrown, NAME_IN_USE);
}

/** Whether the stream has as many messages as it may, and drops none for a new one. */
export function isFullStream(thrown: unknown): boolean {
  return hasApiCode(thrown, STREAM_STORE_FAILED) && causes(thrown).some(({ message }) => /maximum/.test(message));
}

/** Whether the stream that was spoken to is not there (any more). */
export function isMissingStream(thrown: unknown): boolean {
  if (hasApiCode(thrown, JetStreamApiCodes.StreamNotFound)) return true;
  // Nobody listens on the subjects of a stream that does not exist.
  return causes(thrown).some(
    (error) =>
      error instanceof errors.NoRespondersError || (error instanceof errors.RequestError && error.isNoResponders()),
  );
}

/** What a NATS client threw, as people are told: never with a credential in it. */
export function natsError(thrown: unknown, what: string): ChanceryError {
  if (thrown instanceof ChanceryError) return thrown;
  const cause = { cause: thrown };
  const denied = deniedSubject(thrown);
  if (denied !== undefined) {
    return new ChanceryError("unavailable", `${what}: NATS does not allow this user to use ${denied}`, cause);
  }
  if (isMissingStream(thrown)) {
    const reason = "the stream is not there, or NATS runs without JetStream";
    return new ChanceryError("unavailable", `${what}: ${reason}`, cause);
  }
  if (thrown instanceof errors.TimeoutError) {
    return new ChanceryError("unavailable", `${what}: NATS gave no answer in time`, cause);
  }
  if (thrown instanceof errors.InvalidArgumentError) {
    return new ChanceryError("invalid-argument", `${what}: ${thrown.message}`, cause);
  }
  return new ChanceryError("unavailable", `${what}: ${thrown instanceof Error ? thrown.message : thrown}`, cause);
}

function deniedSubject(thrown: unknown): string | undefined {
  return causes(thrown).find((error) => error instanceof errors.PermissionViolationError)?.subject;
}

/** The error itself, what caused it, and so on. */
function causes(thrown: unknown): readonly Error[] {
  const found: Error[] = [];
  for (let error = thrown; error instanceof Error && found.length < 4; error = error.cause) found.push(error);
  return found;
}

function hasApiCode(thrown: unknown, code: number): boolean {
  return thrown instanceof JetStreamApiError && thrown.code === code;
}
