import { BlockList, isIP } from "node:net";
import { z } from "zod";
import type { PoolEndpoint } from "../envoy/index.ts";

const text = z.string().min(1).max(253);
const place = z.string().regex(/^[A-Za-z0-9._-]{1,63}$/);

const endpoint = z.strictObject({
  address: z.string().refine((address) => isIP(address) !== 0, "must be an IP address"),
  port: z.int().min(1).max(65_535),
  weight: z.int().min(1).max(1_000_000).default(1),
  priority: z.int().min(0).max(127).default(0),
  region: z.exactOptional(place),
  zone: z.exactOptional(place),
  hostname: z.exactOptional(text),
  health: z.exactOptional(z.enum(["healthy", "unhealthy", "draining"])),
});

const update = z.union([
  /** Forgets what was fed: the endpoints are those that people wrote. */
  z.strictObject({ upstream: text, withdraw: z.literal(true) }),
  z.strictObject({
    upstream: text,
    endpoints: z.array(endpoint).max(10_000),
    /** Without it an update that has no endpoint is taken for a mistake. */
    allowEmpty: z.boolean().default(false),
  }),
]);

/** What a source says of one upstream: all its endpoints as they are now. */
export type EndpointUpdate = z.output<typeof update>;

/** @returns the update, or in words what is wrong with it */
export function parseEndpointUpdate(input: unknown): EndpointUpdate | string {
  const parsed = update.safeParse(input);
  return parsed.success ? parsed.data : z.prettifyError(parsed.error);
}

/** Ranges of the form "10.1.0.0/16"; they were checked where they were written. */
export function rangesOf(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [address = "", length = ""] = range.split("/");
    list.addSubnet(address, Number(length), isIP(address) === 6 ? "ipv6" : "ipv4");
  }
  return list;
}

/** The first endpoint that lies in none of the ranges. */
export function outsideOf(ranges: BlockList, endpoints: readonly PoolEndpoint[]): PoolEndpoint | undefined {
  return endpoints.find(({ address }) => !ranges.check(address, isIP(address) === 6 ? "ipv6" : "ipv4"));
}
