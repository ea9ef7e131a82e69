import { z } from "zod";
import { refused } from "./complaint.ts";
import { filePath } from "./fields.ts";

const inline = (file: string) =>
  refused("inline-secret", "key material does not belong into the YAML", `write ${file}: with the path of a file`);

/** What people write when they mean to put the material itself here. */
const refusals = {
  certificate: inline("certificateFile"),
  privateKey: inline("privateKeyFile"),
  value: inline("valueFile"),
  data: inline("valueFile"),
  stringData: inline("valueFile"),
};

/** Only where material lies: `type` decides which files there are. */
export const secretSpec = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("tls"),
    certificateFile: filePath.describe("PEM chain, the leaf first."),
    privateKeyFile: filePath.describe("PEM private key."),
    ...refusals,
  }),
  z.strictObject({ type: z.literal("ca"), certificateFile: filePath.describe("PEM bundle."), ...refusals }),
  z.strictObject({
    type: z.literal("opaque"),
    valueFile: filePath.describe("A file whose content is the value; one newline at its end does not count."),
    ...refusals,
  }),
]);
