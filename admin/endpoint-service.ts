import type { ServiceImpl } from "@connectrpc/connect";
import type { EndpointService, FedEndpoint } from "../protos/gen/chancery/admin/v1/endpoints_pb.ts";
import { ChanceryError } from "../resources/index.ts";
import type { EndpointFeed } from "../xds-server/index.ts";
import { demandRole, principalKey } from "./principal.ts";

/** The source's name in metrics and logs. */
const SOURCE = "api";

export function endpointService(feed: Pick<EndpointFeed, "offer">): ServiceImpl<typeof EndpointService> {
  return {
    setEndpoints: ({ upstream, endpoints, allowEmpty, withdraw }, { values }) => {
      demandRole(values.get(principalKey), "operator");
      if (withdraw && (endpoints.length > 0 || allowEmpty)) {
        throw new ChanceryError(
          "invalid-argument",
          "who withdraws endpoints sets none: leave endpoints and allow_empty out",
        );
      }
      const update = withdraw ? { upstream, withdraw } : { upstream, allowEmpty, endpoints: endpoints.map(said) };
      const { outcome, message } = feed.offer(SOURCE, update);
      if (message === "") return { outcome };
      throw new ChanceryError(outcome === "unknown-upstream" ? "not-found" : "invalid-argument", message);
    },
  };
}

/** Empty strings of the message are members that are not there. */
function said({ address, port, weight, priority, region, zone, hostname, health }: FedEndpoint): object {
  const given = Object.entries({ region, zone, hostname, health }).filter(([, value]) => value !== "");
  return { address, port, priority, ...(weight === undefined ? {} : { weight }), ...Object.fromEntries(given) };
}
