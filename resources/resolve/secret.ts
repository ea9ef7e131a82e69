import type { Authored } from "../authored.ts";
import type { Secret } from "../inventory.ts";
import { type Linking, metaOf } from "./linking.ts";

export function resolveSecret(object: Authored<"Secret">, { references }: Linking): Secret | undefined {
  const meta = metaOf(object);
  const file = (path: string, field: string): string | undefined => references.file(object, path, ["spec", field]);
  const { spec } = object;
  if (spec.type === "opaque") {
    const valueFile = file(spec.valueFile, "valueFile");
    return valueFile === undefined ? undefined : { ...meta, type: spec.type, valueFile };
  }
  const certificateFile = file(spec.certificateFile, "certificateFile");
  if (spec.type === "ca")
    return certificateFile === undefined ? undefined : { ...meta, type: spec.type, certificateFile };
  const privateKeyFile = file(spec.privateKeyFile, "privateKeyFile");
  if (certificateFile === undefined || privateKeyFile === undefined) return undefined;
  return { ...meta, type: spec.type, certificateFile, privateKeyFile };
}
