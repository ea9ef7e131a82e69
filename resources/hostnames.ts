/** Stands for every host. */
const ANY_HOST = "*";

/**
 * The host names that two patterns have in common. A wildcard stands for one or more labels, as in Gateway API.
 *
 * @returns undefined when they have none
 */
export function intersectHostnames(left: string, right: string): string | undefined {
  if (left === right || right === ANY_HOST) return left;
  if (left === ANY_HOST) return right;
  if (covers(left, right)) return right;
  if (covers(right, left)) return left;
  return undefined;
}

/** Whether wildcard `pattern` covers all of `other`. */
function covers(pattern: string, other: string): boolean {
  if (!pattern.startsWith("*.")) return false;
  // "*.example.com" covers "a.example.com" and "*.a.example.com", not "example.com".
  return other.endsWith(pattern.slice(1)) && other !== pattern.slice(1);
}

/** Every common host name of a route and a listener; [ANY_HOST] when neither names any, [] when they exclude each other. */
export function attachedHostnames(route: readonly string[], listener: string | undefined): readonly string[] {
  const limit = listener ?? ANY_HOST;
  const asked = route.length === 0 ? [ANY_HOST] : route;
  const common = asked.map((name) => intersectHostnames(name, limit)).filter((name) => name !== undefined);
  return [...new Set(common)];
}
