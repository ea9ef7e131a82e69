import { experimental, type ServerCredentials } from "@grpc/grpc-js";

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

/** For grpc-js servers. */
export function mutualTls(certificates: ServerCertificates): ServerCredentials {
  const provider = new Provider(certificates);
  return experimental.createCertificateProviderServerCredentials(provider, provider, true);
}

/** As grpc-js asks for certificates: CA and own one apart, each told at once and after each change. */
class Provider implements experimental.CertificateProvider {
  readonly #certificates: ServerCertificates;
  readonly #stops = new Map<unknown, () => void>();

  constructor(certificates: ServerCertificates) {
    this.#certificates = certificates;
  }

  addCaCertificateListener(listener: experimental.CaCertificateUpdateListener): void {
    this.#add(listener, ({ clientCa }) => listener({ caCertificate: clientCa }));
  }

  addIdentityCertificateListener(listener: experimental.IdentityCertificateUpdateListener): void {
    this.#add(listener, ({ certificate, privateKey }) => listener({ certificate, privateKey }));
  }

  removeCaCertificateListener(listener: experimental.CaCertificateUpdateListener): void {
    this.#remove(listener);
  }

  removeIdentityCertificateListener(listener: experimental.IdentityCertificateUpdateListener): void {
    this.#remove(listener);
  }

  #add(key: unknown, tell: (certificate: ServerCertificate) => void): void {
    this.#stops.set(key, this.#certificates.onChange(tell));
    // Its first update may not come before it has been added.
    process.nextTick(() => {
      if (this.#stops.has(key)) tell(this.#certificates.current());
    });
  }

  #remove(key: unknown): void {
    this.#stops.get(key)?.();
    this.#stops.delete(key);
  }
}
