import { createHash } from "node:crypto";
import { type DescMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { type Violation, validate } from "../envoy/index.ts";
import type { EncodedResource } from "./revision-parts.ts";

/** A generated resource that breaks a rule of Envoy's protos: a defect here or a value that the schema let through. */
export interface ResourceViolation extends Violation {
  readonly resource: string;
}

/** A resource, checked and encoded. */
export interface CheckedResource {
  readonly resource: EncodedResource;
  readonly violations: readonly ResourceViolation[];
}

export function checkedResource<Desc extends DescMessage>(
  schema: Desc,
  typeUrl: string,
  name: string,
  message: MessageShape<Desc>,
): CheckedResource {
  const violations = validate(schema, message).map((violation) => ({
    ...violation,
    resource: `${schema.name} ${name}`,
  }));
  const value = toBinary(schema, message);
  const version = createHash("sha256").update(value).digest("hex").slice(0, 16);
  return { resource: { typeUrl, name, version, value }, violations };
}

/** The resources of a node group as they are generated. */
export interface ResourceList {
  add<Desc extends DescMessage>(schema: Desc, typeUrl: string, name: string, message: MessageShape<Desc>): void;
  include(...checked: readonly CheckedResource[]): void;
  /** By type and name. */
  sorted(): readonly EncodedResource[];
  readonly violations: readonly ResourceViolation[];
}

export function createResourceList(): ResourceList {
  const resources: EncodedResource[] = [];
  const violations: ResourceViolation[] = [];
  const include = (...checked: readonly CheckedResource[]): void => {
    for (const each of checked) {
      resources.push(each.resource);
      violations.push(...each.violations);
    }
  };
  return {
    add: (...generated) => include(checkedResource(...generated)),
    include,
    sorted: () => resources.toSorted((a, b) => order(a.typeUrl, b.typeUrl) || order(a.name, b.name)),
    violations,
  };
}

export function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
