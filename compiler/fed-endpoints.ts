import { endpointsOf, type PoolEndpoint, TYPE_URLS, ungovernedEndpoints } from "../envoy/index.ts";
import { ClusterLoadAssignmentSchema } from "../protos/gen/envoy/config/endpoint/v3/endpoint_pb.ts";
import { isUngovernedGroup } from "./group-names.ts";
import { createResourceList } from "./resource-list.ts";
import type { EncodedResource, NodeGroup } from "./revision-parts.ts";

/**
 * The endpoints of a pool as they are now, in the form in which the group's own would be.
 *
 * @returns undefined where Envoy would refuse them
 */
export function fedEndpoints(
  group: NodeGroup["name"],
  pool: string,
  endpoints: readonly PoolEndpoint[],
): EncodedResource | undefined {
  const build = isUngovernedGroup(group) ? ungovernedEndpoints : endpointsOf;
  const list = createResourceList();
  list.add(ClusterLoadAssignmentSchema, TYPE_URLS.endpoint, pool, build({ name: pool, endpoints }));
  return list.violations.length === 0 ? list.sorted()[0] : undefined;
}
