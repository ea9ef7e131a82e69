/**
 * Which resources of a refused response are at fault, as far as the client's words tell: the only one there is, those
 * that Envoy lists ("Error adding/updating cluster(s) a: …, b: …"), or those that others quote (`resource "a": …`).
 *
 * @returns none where the message does not tell: Envoy names no resource that it cannot decode
 */
export function culprits(message: string, names: readonly string[]): string[] {
  if (names.length <= 1) return [...names];
  const list = /^Error adding\/updating (?:cluster|listener)\(s\) /.exec(message);
  if (list !== null) {
    const rest = message.slice(list[0].length);
    return names.filter((name) => name !== "" && (rest.startsWith(`${name}: `) || rest.includes(`, ${name}: `)));
  }
  return names.filter((name) => name !== "" && message.includes(`resource "${name}"`));
}
