import { create } from "@bufbuild/protobuf";
import { type Duration, DurationSchema } from "@bufbuild/protobuf/wkt";
import {
  ApiVersion,
  type ConfigSource,
  ConfigSourceSchema,
} from "../protos/gen/envoy/config/core/v3/config_source_pb.ts";

/** Milliseconds, whole, as a protobuf duration. */
export function duration(ms: number): Duration {
  const whole = Math.trunc(ms / 1000);
  return create(DurationSchema, { seconds: BigInt(whole), nanos: Math.round((ms - whole * 1000) * 1e6) });
}

/** "From the ADS stream that brought this resource". */
export function fromAds(): ConfigSource {
  return create(ConfigSourceSchema, {
    resourceApiVersion: ApiVersion.V3,
    configSourceSpecifier: { case: "ads", value: {} },
  });
}

/** An IP address, as Envoy's `address` takes it. */
export function socketAddress(address: string, port: number) {
  return {
    address: {
      case: "socketAddress" as const,
      value: { address, portSpecifier: { case: "portValue" as const, value: port } },
    },
  };
}
