import type { ServedResource } from "./snapshot.ts";

/** The base is made anew when this many names lie over it: a change costs this at most, and a lookup two. */
const MAX_OVERLAY = 64;

type Base = ReadonlyMap<string, ServedResource>;
/** undefined: the name is gone. */
type Overlay = ReadonlyMap<string, ServedResource | undefined>;

/**
 * An immutable map in which the next one shares what has not changed: a large map that nobody copies, and a small one of
 * what differs from it. Those that were changed since come last in its order.
 */
export class ResourceLayers implements ReadonlyMap<string, ServedResource> {
  readonly size: number;
  readonly #base: Base;
  readonly #overlay: Overlay;

  private constructor(base: Base, overlay: Overlay, size: number) {
    this.#base = base;
    this.#overlay = overlay;
    this.size = size;
  }

  /** `before` with other content for some names; undefined takes a name away. */
  static over(before: Base, changed: Overlay): ResourceLayers {
    const layered = before instanceof ResourceLayers;
    const base = layered ? before.#base : before;
    const overlay = layered ? new Map([...before.#overlay, ...changed]) : changed;
    let size = before.size;
    for (const [name, resource] of changed) size += Number(resource !== undefined) - Number(before.has(name));
    if (overlay.size <= Math.max(1, Math.min(MAX_OVERLAY, base.size))) return new ResourceLayers(base, overlay, size);
    const merged = new Map(base);
    for (const [name, resource] of overlay) {
      if (resource === undefined) merged.delete(name);
      else merged.set(name, resource);
    }
    return new ResourceLayers(merged, new Map(), size);
  }

  get(name: string): ServedResource | undefined {
    return this.#overlay.has(name) ? this.#overlay.get(name) : this.#base.get(name);
  }

  has(name: string): boolean {
    return this.get(name) !== undefined;
  }

  *entries(): MapIterator<[string, ServedResource]> {
    for (const entry of this.#base) if (!this.#overlay.has(entry[0])) yield entry;
    for (const [name, resource] of this.#overlay) if (resource !== undefined) yield [name, resource];
  }

  *keys(): MapIterator<string> {
    for (const [name] of this.entries()) yield name;
  }

  *values(): MapIterator<ServedResource> {
    for (const [, resource] of this.entries()) yield resource;
  }

  forEach(callback: (resource: ServedResource, name: string, map: Base) => void): void {
    for (const [name, resource] of this.entries()) callback(resource, name, this);
  }

  [Symbol.iterator](): MapIterator<[string, ServedResource]> {
    return this.entries();
  }
}
