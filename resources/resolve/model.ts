import type { Authored } from "../authored.ts";
import type { Model } from "../inventory.ts";
import { metaOf } from "./linking.ts";

export function resolveModel(object: Authored<"Model">): Model {
  const { spec, name } = object;
  return {
    ...metaOf(object),
    names: spec.names ?? [name],
    source: spec.source.type === "header" ? { ...spec.source, header: spec.source.header.toLowerCase() } : spec.source,
    approval: spec.approval,
    firstByteMs: spec.firstByte,
    wholeAnswerMs: spec.wholeAnswer,
    maxStreamMs: spec.maxStream,
    maxAttempts: spec.maxAttempts,
    maxBodyBytes: spec.maxBodyBytes,
  };
}
