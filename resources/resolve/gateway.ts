import { isIP } from "node:net";
import type { Authored } from "../authored.ts";
import type { Gateway, GatewayListener, GovernanceMode, Key } from "../inventory.ts";
import { MODE_ANNOTATION } from "../schema/metadata.ts";
import type { Path } from "../yaml-document.ts";
import { type Linking, metaOf } from "./linking.ts";

const LOOPBACK = ["127.0.0.1"];

export function resolveGateway(object: Authored<"Gateway">, linking: Linking): Gateway {
  const { problems } = linking;
  for (const [index, { value }] of object.spec.addresses.entries()) {
    if (isIP(value) !== 0) continue;
    problems.error(object, ["spec", "addresses", index, "value"], "invalid-value", "must be an IPv4 or IPv6 address");
  }
  checkDistinct(object, linking);
  const addresses = object.spec.addresses.map(({ value }) => value);
  const bound = addresses.length === 0 ? LOOPBACK : [...new Set(addresses)];
  return {
    ...metaOf(object),
    mode: modeOf(object, linking),
    listeners: object.spec.listeners.map((listener, index): GatewayListener => {
      const at: Path = ["spec", "listeners", index];
      const { name, port, protocol, hostname } = listener;
      const certificates = certificatesOf(object, index, at, linking);
      return { name, addresses: bound, port, protocol, ...(hostname === undefined ? {} : { hostname }), certificates };
    }),
  };
}

function modeOf(object: Authored<"Gateway">, { problems }: Linking): GovernanceMode {
  const mode = object.metadata.annotations[MODE_ANNOTATION];
  if (mode === undefined || mode === "enforce" || mode === "observe") return mode ?? "enforce";
  const at = ["metadata", "annotations", MODE_ANNOTATION];
  problems.error(object, at, "invalid-value", `${MODE_ANNOTATION} must be "enforce" or "observe"`);
  return "enforce";
}

function certificatesOf(object: Authored<"Gateway">, index: number, at: Path, linking: Linking): readonly Key[] {
  const { references, problems } = linking;
  const listener = object.spec.listeners[index];
  if (listener?.protocol !== "HTTPS") {
    if (listener?.tls !== undefined) {
      problems.errorAtKey(
        object,
        [...at, "tls"],
        "conflict",
        "a listener of protocol HTTP has no tls",
        "write protocol: HTTPS",
      );
    }
    return [];
  }
  if (listener.tls === undefined) {
    const hint = "write tls: {certificateRefs: [{name: …}]} with a Secret of type tls";
    problems.error(object, [...at, "tls"], "missing-field", 'a listener of protocol HTTPS needs "tls"', hint);
    return [];
  }
  const keys: Key[] = [];
  for (const [position, ref] of listener.tls.certificateRefs.entries()) {
    const place = [...at, "tls", "certificateRefs", position, "name"];
    const referrer = { group: "gateway.networking.k8s.io", kind: "Gateway" } as const;
    const key = references.granted(object, referrer, "Secret", ref, place);
    if (key === undefined) continue;
    const secret = references.object("Secret", key);
    if (secret !== undefined && secret.spec.type !== "tls") {
      problems.error(
        object,
        place,
        "conflict",
        `Secret "${key}" is of type ${secret.spec.type}`,
        "a listener needs type tls",
      );
    } else keys.push(key);
  }
  return [...new Set(keys)];
}

/** @see https://gateway-api.sigs.k8s.io/reference/spec/#gatewayspec "Distinct Listeners" */
function checkDistinct(object: Authored<"Gateway">, { problems }: Linking): void {
  const names = new Set<string>();
  const protocols = new Map<number, string>();
  const places = new Set<string>();
  for (const [index, { name, port, protocol, hostname }] of object.spec.listeners.entries()) {
    const at: Path = ["spec", "listeners", index];
    if (names.has(name)) {
      problems.error(
        object,
        [...at, "name"],
        "conflict",
        `two listeners are named "${name}"`,
        "names are unique in a Gateway",
      );
    }
    names.add(name);
    const place = `${port} ${protocol} ${hostname ?? "*"}`;
    if (places.has(place)) {
      const message = `two listeners have port ${port}, protocol ${protocol} and the same host name`;
      problems.error(object, [...at, "port"], "conflict", message, "give them different host names");
    }
    places.add(place);
    const other = protocols.get(port);
    if (other !== undefined && other !== protocol) {
      problems.error(object, [...at, "protocol"], "conflict", `port ${port} has protocol ${other} on another listener`);
    }
    protocols.set(port, other ?? protocol);
  }
}
