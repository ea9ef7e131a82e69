import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";

const Profile = z.object({
  nodes: z.array(z.object({ id: z.number(), callFrame: z.object({ functionName: z.string(), url: z.string() }) })),
  samples: z.array(z.number()),
  timeDeltas: z.array(z.number()),
});

/** Where a process spent its CPU time, by whose code it was: share of all samples that were not idle, largest first. */
export async function costByPart(directory: string): Promise<[part: string, share: number][]> {
  const [file] = (await readdir(directory)).filter((name) => name.endsWith(".cpuprofile"));
  if (file === undefined) return [];
  const profile = Profile.parse(JSON.parse(await readFile(join(directory, file), "utf8")));
  const parts = new Map(profile.nodes.map(({ id, callFrame }) => [id, partOf(callFrame.functionName, callFrame.url)]));
  const cost = new Map<string, number>();
  let all = 0;
  profile.samples.forEach((sample, index) => {
    const part = parts.get(sample) ?? "other";
    if (part === "idle") return;
    const us = profile.timeDeltas[index] ?? 0;
    all += us;
    cost.set(part, (cost.get(part) ?? 0) + us);
  });
  return [...cost].map(([part, us]): [string, number] => [part, us / all]).sort((a, b) => b[1] - a[1]);
}

function partOf(name: string, url: string): string {
  if (name === "(idle)") return "idle";
  if (name === "(garbage collector)") return "garbage collection";
  if (name === "(program)") return "system calls and native code";
  if (url.includes("/@grpc/grpc-js/")) return "grpc-js";
  if (url.includes("/@bufbuild/")) return "protobuf";
  if (/^node:internal\/(modules|deps|bootstrap)/.test(url) || name === "compileSourceTextModule") return "start-up";
  if (url.startsWith("node:") || url === "") return "Node: http2, streams, sockets, buffers";
  if (url.includes("/xds-server/")) return "xds-server";
  return "other";
}
