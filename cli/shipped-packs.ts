import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { ChanceryError, type LawPack, parseResources } from "../resources/index.ts";

const PACKS = fileURLToPath(new URL("../packs/", import.meta.url));

/** A law pack as it is shipped. */
export interface ShippedPack {
  readonly name: string;
  /** As it is to be copied. */
  readonly text: string;
  readonly pack: LawPack;
}

export async function shippedPacks(): Promise<readonly ShippedPack[]> {
  const entries = await readdir(PACKS, { withFileTypes: true });
  const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  return Promise.all(names.sort().map(readPack));
}

/** @throws ChanceryError "not-found" */
export async function shippedPack(name: string): Promise<ShippedPack> {
  const packs = await shippedPacks();
  const found = packs.find((pack) => pack.name === name);
  if (found !== undefined) return found;
  const known = packs.map((pack) => pack.name).join(", ");
  throw new ChanceryError("not-found", `there is no law pack "${name.slice(0, 64)}"; there are ${known}`);
}

async function readPack(name: string): Promise<ShippedPack> {
  const text = await readFile(`${PACKS}${name}/pack.yaml`, "utf8");
  const [pack] = parseResources(new Map([[`${name}.yaml`, text]])).inventory.lawPacks;
  if (pack === undefined) throw new ChanceryError("internal", `the shipped law pack ${name} has errors`);
  return { name, text, pack };
}

/** Whether a pack says what the other does, wherever it stands and whatever its labels are. */
function saysTheSame(a: LawPack, b: LawPack): boolean {
  return JSON.stringify(contentOf(a)) === JSON.stringify(contentOf(b));
}

function contentOf({ key: _key, scope: _scope, labels: _labels, annotations: _annotations, ...content }: LawPack) {
  return content;
}

/** A law pack in a list. */
export interface ListedPack {
  readonly pack: string;
  readonly instrument: string;
  readonly version: string;
  readonly rules: number;
  readonly enforced: number;
  readonly reviewed: number;
  /** How it compares with the shipped pack of its name; only of a tree. */
  readonly shipped?: "as shipped" | "changed" | "older than shipped" | "your own";
}

export function listShipped(shipped: readonly ShippedPack[]): readonly ListedPack[] {
  return shipped.map(({ pack }) => listed(pack));
}

export function listPacks(packs: readonly LawPack[], shipped: readonly ShippedPack[]): readonly ListedPack[] {
  const originals = new Map(shipped.map(({ name, pack }) => [name, pack]));
  return packs.map((pack): ListedPack => {
    const original = originals.get(pack.name);
    if (original === undefined) return { ...listed(pack), shipped: "your own" };
    if (pack.version < original.version) return { ...listed(pack), shipped: "older than shipped" };
    return { ...listed(pack), shipped: saysTheSame(pack, original) ? "as shipped" : "changed" };
  });
}

function listed({ key, instrument, version, rules }: LawPack): ListedPack {
  return {
    pack: key,
    instrument,
    version,
    rules: rules.length,
    enforced: rules.filter(({ mode }) => mode === "enforce").length,
    reviewed: rules.filter(({ review }) => review === "reviewed").length,
  };
}
