import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { MetadataSource, RBAC_Action } from "../protos/gen/envoy/config/rbac/v3/rbac_pb.ts";
import type { RBACSchema } from "../protos/gen/envoy/extensions/filters/http/rbac/v3/rbac_pb.ts";
import { type MetadataMatcher, MetadataMatcherSchema } from "../protos/gen/envoy/type/matcher/v3/metadata_pb.ts";
import type { ValueMatcherSchema } from "../protos/gen/envoy/type/matcher/v3/value_pb.ts";
import { DECISION_NAMESPACE } from "./names.ts";

type ValueMatch = MessageInitShape<typeof ValueMatcherSchema>;

/** A metadata value that is exactly `text`. */
export function exactly(text: string): ValueMatch {
  return {
    matchPattern: { case: "stringMatch", value: { matchPattern: { case: "exact", value: text } } },
  };
}

/** "The decision says that `key` is exactly `text`". */
export function decisionSays(key: string, text: string): MetadataMatcher {
  return create(MetadataMatcherSchema, {
    filter: DECISION_NAMESPACE,
    path: [{ segment: { case: "key", value: key } }],
    value: exactly(text),
  });
}

function only(name: string, metadata: MetadataMatcher): MessageInitShape<typeof RBACSchema> {
  return {
    rules: {
      action: RBAC_Action.ALLOW,
      policies: {
        [name]: {
          principals: [{ identifier: { case: "any", value: true } }],
          permissions: [
            {
              rule: {
                case: "sourcedMetadata",
                value: { metadataSource: MetadataSource.DYNAMIC, metadataMatcher: metadata },
              },
            },
          ],
        },
      },
    },
  };
}

/** No positive decision, no passage: the floor under the filter chain. */
export function decidedOnly(): MessageInitShape<typeof RBACSchema> {
  return only("decided", decisionSays("decision", "allow"));
}

/** This cluster only where the decision lists it: evaluated on every attempt. */
export function legalOnly(cluster: string): MessageInitShape<typeof RBACSchema> {
  return only(
    "legal",
    create(MetadataMatcherSchema, {
      filter: DECISION_NAMESPACE,
      path: [{ segment: { case: "key", value: "legal" } }],
      value: {
        matchPattern: {
          case: "listMatch",
          value: { matchPattern: { case: "oneOf", value: exactly(cluster) } },
        },
      },
    }),
  );
}
