import { expect, test } from "vitest";
import type { z } from "zod";
import type { Layout, SecretReference } from "../compiler/index.ts";
import type { PolicyProgram } from "../policy/index.ts";
import { type layoutSchema, programSchema, type secretsSchema } from "./part-schemas.ts";
import { exampleParts } from "./parts-fixture.ts";

/** Without `readonly`, which says nothing about the data. */
type Plain<T> = T extends readonly (infer Item)[]
  ? Plain<Item>[]
  : T extends object
    ? { -readonly [Name in keyof T]: Plain<T[Name]> }
    : T;
type Same<A, B> = (<T>() => T extends Plain<A> ? 1 : 2) extends <T>() => T extends Plain<B> ? 1 : 2 ? true : false;

test("the schemas say exactly what the types say", () => {
  // The type checker fails here when a member is added to a type and not to its schema.
  const program: Same<z.infer<typeof programSchema>, PolicyProgram> = true;
  const layout: Same<z.infer<typeof layoutSchema>, Layout> = true;
  const secrets: Same<z.infer<typeof secretsSchema>, readonly SecretReference[]> = true;
  expect([program, layout, secrets]).toEqual([true, true, true]);
});

test("a member that is not known is refused, not dropped", () => {
  const { program } = exampleParts();
  expect(programSchema.safeParse(program).success).toBe(true);
  const rules = program.rules.map((rule) => ({ ...rule, unless: "true" }));
  expect(programSchema.safeParse({ ...program, rules }).success).toBe(false);
});
