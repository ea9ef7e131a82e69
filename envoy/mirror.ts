import { create } from "@bufbuild/protobuf";
import {
  type RouteAction_RequestMirrorPolicy,
  RouteAction_RequestMirrorPolicySchema,
} from "../protos/gen/envoy/config/route/v3/route_components_pb.ts";

/** A cluster that gets copies of requests where the decision names it; nobody sees its answers. */
export interface RouteMirror {
  readonly cluster: string;
  /** Host header of the copies; that of the request unless given. */
  readonly hostname?: string;
  /** Lower-case headers that carry credentials. */
  readonly removedHeaders: readonly string[];
}

/** What says more of the client and of us than a mirror is to know, beside credentials. */
const REMOVED = ["cookie", "x-forwarded-client-cert"];
const REMOVED_PREFIXES = ["x-chancery-", "x-envoy-"];

/**
 * Filters of a cluster do not run on copies: what they would remove is removed here, and what they would refuse has to be
 * refused by never naming the mirror.
 */
export function mirrorPolicy({ cluster, hostname, removedHeaders }: RouteMirror): RouteAction_RequestMirrorPolicy {
  return create(RouteAction_RequestMirrorPolicySchema, {
    cluster,
    disableShadowHostSuffixAppend: true,
    ...(hostname === undefined ? {} : { hostRewriteLiteral: hostname }),
    requestHeadersMutations: [
      ...[...removedHeaders, ...REMOVED].map((name) => ({ action: { case: "remove" as const, value: name } })),
      ...REMOVED_PREFIXES.map((prefix) => ({
        action: {
          case: "removeOnMatch" as const,
          value: { keyMatcher: { matchPattern: { case: "prefix" as const, value: prefix }, ignoreCase: true } },
        },
      })),
    ],
  });
}
