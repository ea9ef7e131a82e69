import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ClusterSpecifierPluginSchema } from "../protos/gen/envoy/config/route/v3/route_components_pb.ts";
import { PriorityGroupClusterSpecifierSchema } from "../protos/gen/envoy/extensions/router/cluster_specifiers/priority_group/v3/priority_group_pb.ts";
import { BLACKHOLE_CLUSTER, DECISION_NAMESPACE } from "./names.ts";
import { extension } from "./registry.ts";

/** What a decision may name, and the clusters behind it. */
export interface PoolGroup {
  readonly name: string;
  readonly clusters: readonly { readonly name: string; readonly weight: number }[];
}

/**
 * The pools that a decision may name on a route. Envoy takes its own n-th group where the n-th name of a decision is not
 * valid, so one refusing group per attempt comes first.
 */
export function priorityGroups(
  name: string,
  attempts: number,
  groups: readonly PoolGroup[],
): MessageInitShape<typeof ClusterSpecifierPluginSchema> {
  const refusing = Array.from({ length: attempts }, (_, index) => ({
    name: `none${index}`,
    clusters: [{ clusterName: BLACKHOLE_CLUSTER, weight: 1 }],
  }));
  return {
    extension: {
      ...extension("envoy.router.cluster_specifier_plugin.priority_group", PriorityGroupClusterSpecifierSchema, {
        overrideMetadataNamespace: DECISION_NAMESPACE,
        priorityGroups: [
          ...refusing,
          ...groups.map((group) => ({
            name: group.name,
            clusters: group.clusters.map((cluster) => ({ clusterName: cluster.name, weight: cluster.weight })),
          })),
        ],
      }),
      name,
    },
  };
}
