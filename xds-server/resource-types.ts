import { TYPE_URLS, typeUrl } from "../envoy/index.ts";
import { VirtualHostSchema } from "../protos/gen/envoy/config/route/v3/route_components_pb.ts";
import { RuntimeSchema } from "../protos/gen/envoy/service/runtime/v3/rtds_pb.ts";

/** Served, and not built here: no configuration of ours uses them. */
export const VIRTUAL_HOST = typeUrl(VirtualHostSchema);
export const RUNTIME = typeUrl(RuntimeSchema);

/** What the protocol says of a resource type (xds_protocol.rst, "Resource Types" and "How the client specifies…"). */
export interface TypeTraits {
  /** A first request without names means all resources; else it means none. */
  readonly emptyMeansAll: boolean;
  /** State of the world: each response holds every subscribed resource, and what is missing is deleted. */
  readonly complete: boolean;
  /** Pushes wait for the acknowledgement of the clusters. */
  readonly afterClusters: boolean;
  /** Removals wait until this node's routes (and listeners) no longer need the resource. */
  readonly removedLast: boolean;
  /** The types whose resources its resources name; they are sent again with it. */
  readonly children: readonly string[];
}

const plain: TypeTraits = {
  emptyMeansAll: false,
  complete: false,
  afterClusters: false,
  removedLast: false,
  children: [],
};

const { cluster, endpoint, listener, route, secret, extensionConfig } = TYPE_URLS;

const TRAITS = new Map<string, TypeTraits>([
  [cluster, { ...plain, emptyMeansAll: true, complete: true, removedLast: true, children: [endpoint, secret] }],
  [endpoint, { ...plain, removedLast: true }],
  [secret, { ...plain, removedLast: true }],
  [extensionConfig, { ...plain, removedLast: true }],
  [
    listener,
    {
      ...plain,
      emptyMeansAll: true,
      complete: true,
      afterClusters: true,
      children: [extensionConfig, secret, route],
    },
  ],
  [route, { ...plain, afterClusters: true, removedLast: true }],
  [RUNTIME, plain],
]);

/** VHDS asks for all virtual hosts with an empty first request, scoped routes likewise; so does what we do not know. */
const otherTraits: TypeTraits = { ...plain, emptyMeansAll: true };

export function traitsOf(typeUrl: string): TypeTraits {
  return TRAITS.get(typeUrl) ?? otherTraits;
}

/** The order of one change on the wire: what is named comes before what names it. Types not listed come last. */
export const SEND_ORDER: readonly string[] = [cluster, endpoint, secret, extensionConfig, listener, route];
