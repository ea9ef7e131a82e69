import { createHash } from "node:crypto";
import type { Layout } from "./revision-parts.ts";

/** What all route tables of a group are, in short: the hash of its layout, or over those of several. */
export function groupLayout(layouts: readonly Pick<Layout, "hash">[]): string {
  const hashes = layouts.map(({ hash }) => hash).sort();
  const [only] = hashes;
  if (hashes.length === 1 && only !== undefined) return only;
  return createHash("sha256").update(hashes.join("\n")).digest("hex").slice(0, 32);
}

/** The layouts that groups of these route tables may say that they run: of a gateway, and of each plan, all tables. */
export function groupLayouts(layouts: readonly Layout[]): ReadonlySet<string> {
  const together = Map.groupBy(layouts, ({ nodeGroup, plan }) => `${plan ?? ""}\n${nodeGroup}`);
  return new Set([...together.values()].map(groupLayout));
}
