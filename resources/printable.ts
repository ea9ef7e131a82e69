/**
 * Text from elsewhere on one line of a terminal or a log: control characters (escape sequences, line ends) and those
 * that turn the direction of what follows are written as `\u001b`, so that it can neither forge lines nor hide anything.
 *
 * @see CVE-2021-42574 ("Trojan Source")
 */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** The same of text that may have several lines. */
export function printableLines(text: string): string {
  return text.split("\n").map(printable).join("\n");
}

const UNPRINTABLE = /(?!\t)[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;
