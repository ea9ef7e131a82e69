import { fromBinary } from "@bufbuild/protobuf";
import type { NodeGroup } from "../compiler/index.ts";
import { TYPE_URLS } from "../envoy/index.ts";
import { ListenerSchema } from "../protos/gen/envoy/config/listener/v3/listener_pb.ts";

/** Where the Envoys of a group listen: "http://127.0.0.1:10000". */
export function listenerUrls(group: NodeGroup): readonly string[] {
  return group.resources
    .filter(({ typeUrl }) => typeUrl === TYPE_URLS.listener)
    .flatMap(({ value }) => {
      const { address, filterChains } = fromBinary(ListenerSchema, value);
      const socket = address?.address;
      if (socket?.case !== "socketAddress" || socket.value.portSpecifier.case !== "portValue") return [];
      const scheme = filterChains.some(({ transportSocket }) => transportSocket !== undefined) ? "https" : "http";
      const host = socket.value.address.includes(":") ? `[${socket.value.address}]` : socket.value.address;
      return [`${scheme}://${host}:${socket.value.portSpecifier.value}`];
    });
}
