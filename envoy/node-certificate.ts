/** What a client certificate says of the node that may use it. */
export interface NodeBinding {
  readonly group: string;
  /** Left out: any node of the group. */
  readonly id?: string;
}

/**
 * Reads `spiffe://<trust domain>/…[/node/<node id>]/gateway/<group>`: all that follows the first "gateway" is the group,
 * which may have slashes itself, so that no certificate can be read as that of another group.
 *
 * @param alternativeNames  as Node gives them: "DNS:…, URI:…"; entries with special characters come as JSON strings
 * @returns "none" where no SPIFFE id names a gateway; "ambiguous" where there are several SPIFFE ids (forbidden there)
 * @see X509-SVID, "SPIFFE ID"
 */
export function bindingOf(alternativeNames: string): NodeBinding | "none" | "ambiguous" {
  // What a quoted entry holds must not be taken for an entry of its own.
  const plain = alternativeNames.replace(/"(?:[^"\\]|\\.)*"/g, "");
  const ids = [...plain.matchAll(/(?:^|, )URI:spiffe:\/\/[^/,]+([^,]*)/g)].map(([, path]) => path ?? "");
  if (ids.length > 1) return "ambiguous";
  const path = ids[0] ?? "";
  const marker = "/gateway/";
  const at = path.indexOf(marker);
  if (at === -1) return "none";
  const group = path.slice(at + marker.length);
  const id = /\/node\/(.+)$/.exec(path.slice(0, at))?.[1];
  return id === undefined ? { group } : { group, id };
}

/** Why a node may not use a certificate; undefined: it may. */
export function misuse(
  binding: NodeBinding | "none" | "ambiguous",
  node: { readonly id: string; readonly group: string },
  must: boolean,
): string | undefined {
  if (binding === "ambiguous") return "the client certificate has more than one SPIFFE id";
  if (binding === "none") return must ? "the client certificate names no gateway in a SPIFFE id" : undefined;
  if (binding.group !== node.group) return `the client certificate is for gateway "${binding.group}"`;
  if (binding.id !== undefined && binding.id !== node.id) return `the client certificate is for node "${binding.id}"`;
  return undefined;
}
