/** Who a server is; PEM. */
export interface KeyPair {
  readonly certificate: Buffer;
  readonly privateKey: Buffer;
}

/** What a server needs for mutual TLS; PEM. Only clients with a certificate of `clientCa` are heard. */
export interface ServerCertificate extends KeyPair {
  readonly clientCa: Buffer;
}

/** What a server is known by over its life: renewals reach new connections, those that are open stay as they are. */
export interface Renewable<T> {
  current(): T;
  /** @returns how to stop listening */
  onChange(listener: (next: T) => void): () => void;
}

export type ServerCertificates = Renewable<ServerCertificate>;

/** A certificate that is never renewed. */
export function fixedCertificate(certificate: ServerCertificate): ServerCertificates {
  return { current: () => certificate, onChange: () => () => undefined };
}

/** As Node's TLS servers take it. */
export function tlsContextOf({ certificate, privateKey, clientCa }: ServerCertificate) {
  return { cert: certificate, key: privateKey, ca: clientCa, minVersion: "TLSv1.2" } as const;
}
