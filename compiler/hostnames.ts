/** Whether `pattern` ("*", "*.suffix" or exact) covers the domain `name` (same forms). */
export function covers(pattern: string, name: string): boolean {
  if (pattern === "*" || pattern === name) return true;
  // "*.example.com" stands for at least one label before the suffix (Gateway API, Hostname).
  return (
    pattern.startsWith("*.") && name !== "*" && name.endsWith(pattern.slice(1)) && name.length > pattern.length - 1
  );
}

/** Higher is more specific: exact names, then wildcards by length, then "*". */
export function specificity(pattern: string): number {
  if (pattern === "*") return 0;
  return pattern.startsWith("*.") ? pattern.length : 1_000_000 + pattern.length;
}
