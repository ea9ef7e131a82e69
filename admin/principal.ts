import { createContextKey } from "@connectrpc/connect";

/** Who calls the admin API. */
export interface Principal {
  readonly name: string;
}

/** Whoever reaches a loopback address where no token is asked for. */
export const LOCAL: Principal = { name: "local" };

export const principalKey = createContextKey<Principal>(LOCAL, { description: "who calls" });
