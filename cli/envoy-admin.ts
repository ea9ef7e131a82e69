import { ChanceryError } from "../resources/index.ts";
import { type Address, formatAddress, isLocal } from "./address.ts";

/**
 * Envoy asks nobody who they are at its admin interface.
 *
 * @throws ChanceryError "invalid-argument" for an address off loopback that nobody has said is meant
 */
export function demandProtectedAdmin(admin: Address, option: string, isMeant = false, remedy: string): void {
  if (isMeant || isLocal(admin)) return;
  throw new ChanceryError(
    "invalid-argument",
    `${option} ${formatAddress(admin)} is off loopback: Envoy's admin interface has no authentication, and whoever reaches it can read the configuration, change log levels and stop the Envoy; keep it on loopback, or say ${remedy}`,
  );
}
