import type { Authored } from "../authored.ts";
import type { PolicyTest, PolicyTestCase, PolicyTestRequest } from "../inventory.ts";
import type { Specs } from "../kinds.ts";
import type { Path } from "../yaml-document.ts";
import { type Linking, metaOf } from "./linking.ts";

type Spec = Specs["PolicyTest"];
type RequestSpec = NonNullable<Spec["request"]>;
type CaseSpec = Spec["cases"][number];

/** A part of a request with its references resolved; "" where one was dangling, which is a problem already. */
type RequestPart = Omit<RequestSpec, "application" | "gateway" | "route"> & {
  readonly application?: string;
  readonly gateway?: string;
  readonly route?: string;
};

export function resolvePolicyTest(object: Authored<"PolicyTest">, linking: Linking): PolicyTest | undefined {
  const { spec } = object;
  const shared = partOf(object, spec.request ?? {}, ["spec", "request"], linking);
  const fixtures = new Map(
    Object.entries(spec.fixtures).map(([name, fixture]) => [
      name,
      partOf(object, fixture, ["spec", "fixtures", name], linking),
    ]),
  );
  const cases = spec.cases.flatMap((each, index): PolicyTestCase[] => {
    const at: Path = ["spec", "cases", index];
    checkExpectation(object, each, at, linking);
    const own = partOf(object, each.request ?? {}, [...at, "request"], linking);
    const runs = each.fixtures?.map((name, place) => {
      const fixture = fixtures.get(name);
      if (fixture === undefined) {
        const known = [...fixtures.keys()].join(", ");
        const hint = known === "" ? "spec.fixtures has none" : `there are ${known}`;
        linking.problems.error(object, [...at, "fixtures", place], "dangling-reference", `no fixture "${name}"`, hint);
      }
      return { name, parts: [shared, fixture ?? {}, own] };
    }) ?? [{ name: undefined, parts: [shared, own] }];
    return runs.flatMap(({ name, parts }): PolicyTestCase[] => {
      const request = requestOf(parts);
      if (request === undefined) {
        const hint = "write application: in the case's request, its fixture, or spec.request";
        linking.problems.error(object, at, "missing-field", `case "${each.name}" names no application`, hint);
        return [];
      }
      const { draw, expect } = each;
      const now = each.now ?? spec.now;
      return [{ name: each.name, ...(name === undefined ? {} : { fixture: name }), index, now, request, draw, expect }];
    });
  });
  return { ...metaOf(object), cases };
}

function partOf(object: Authored<"PolicyTest">, part: RequestSpec, at: Path, { references }: Linking): RequestPart {
  const { application, gateway, route, ...rest } = part;
  return {
    ...rest,
    ...(application === undefined
      ? {}
      : { application: references.upwards(object, "Application", application, [...at, "application"]) ?? "" }),
    ...(gateway === undefined
      ? {}
      : { gateway: references.upwards(object, "Gateway", gateway, [...at, "gateway"]) ?? "" }),
    ...(route === undefined ? {} : { route: references.upwards(object, "HTTPRoute", route, [...at, "route"]) ?? "" }),
  };
}

/** Later parts over earlier ones; headers, claims and subject fields one by one. */
function requestOf(parts: readonly RequestPart[]): PolicyTestRequest | undefined {
  const { headers: _, subject: __, application, stream = false, source = "127.0.0.1", ...rest } = merged(parts);
  if (application === undefined) return undefined;
  const headers = Object.entries(merged(parts.map((part) => part.headers ?? {})));
  return {
    ...rest,
    application,
    headers: Object.fromEntries(headers.map(([name, value]) => [name, typeof value === "string" ? [value] : value])),
    stream,
    subject: subjectOf(parts.map((part) => part.subject ?? {})),
    source,
  };
}

function subjectOf(parts: readonly NonNullable<RequestPart["subject"]>[]): PolicyTestRequest["subject"] {
  const { fields: _, claims: __, ...rest } = merged(parts);
  const claims = parts.map((part) => part.claims).filter((each) => each !== undefined);
  return {
    ...rest,
    fields: merged(parts.map((part) => part.fields ?? {})),
    ...(claims.length === 0 ? {} : { claims: merged(claims) }),
  };
}

function merged<T extends object>(parts: readonly T[]): T {
  return Object.assign({}, ...parts);
}

/** An expectation that no decision can meet is a slip of the pen. */
function checkExpectation(object: Authored<"PolicyTest">, { expect }: CaseSpec, at: Path, { problems }: Linking): void {
  if (expect.effect === "allow" && expect.code !== undefined) {
    const hint = "expect effect: deny, or leave out code";
    problems.error(object, [...at, "expect", "code"], "conflict", "an allow has no code", hint);
  }
  if (expect.effect === "deny" && expect.targets !== undefined) {
    const hint = "expect effect: allow, or leave out targets";
    problems.error(object, [...at, "expect", "targets"], "conflict", "a denial has no targets", hint);
  }
}
