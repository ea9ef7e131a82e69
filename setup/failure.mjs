/** Something that the person at the keyboard can mend: its message says what is wrong and which ways there are. */
export class SetupFailure extends Error {
  /**
   * @param {string} message
   * @param {{ cause?: unknown }} [options]
   */
  constructor(message, options) {
    super(message, options);
    this.name = "SetupFailure";
  }
}

/**
 * @param {unknown} thrown
 * @returns {string | undefined} the code of a system error ("ENOENT", "EEXIST", …)
 */
export function systemCode(thrown) {
  if (!(thrown instanceof Error) || !("code" in thrown)) return undefined;
  return typeof thrown.code === "string" ? thrown.code : undefined;
}
