import type { Closable } from "./close-at-end.ts";

/** What a fixture opened and closes together: last opened, first closed. */
export class Closables implements Closable {
  readonly #things: Closable[] = [];

  readonly keep = <T extends Closable>(thing: T): T => {
    this.#things.push(thing);
    return thing;
  };

  /**
   * One that cannot be closed keeps none of the others open.
   *
   * @throws what the first of them threw
   */
  readonly close = async (): Promise<void> => {
    const failures: unknown[] = [];
    for (const thing of this.#things.splice(0).reverse()) {
      try {
        await thing.close();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  };
}
