import { exportJWK, type GenerateKeyPairResult, generateKeyPair, type JWK, SignJWT } from "jose";

/** Makes tokens as an identity provider does. */
export interface TokenIssuer {
  readonly issuer: string;
  /** The public keys, newest last. */
  jwks(): { readonly keys: readonly JWK[] };
  /** Signs with the newest key. */
  sign(claims: Readonly<Record<string, unknown>>, options?: TokenOptions): Promise<string>;
  /** Makes a new key; the old ones stay in `jwks()` unless `forget`. */
  rotate(options?: { readonly forget?: boolean }): Promise<void>;
}

export interface TokenOptions {
  readonly audience?: string | readonly string[];
  /** Seconds from now, negative for an expired token; 3,600 by default; "never" leaves `exp` out. */
  readonly expiresInSeconds?: number | "never";
  /** Another `iss` than the issuer's own. */
  readonly issuer?: string;
  readonly keyId?: string;
}

/** @param issuer  the `iss` of its tokens: "https://id.acme.example" */
export async function createTokenIssuer(issuer: string): Promise<TokenIssuer> {
  let keys: { id: string; privateKey: GenerateKeyPairResult["privateKey"]; publicKey: JWK }[] = [];
  let made = 0;
  const rotate = async (options: { readonly forget?: boolean } = {}): Promise<void> => {
    made += 1;
    const id = `key-${made}`;
    const { privateKey, publicKey } = await generateKeyPair("ES256", { extractable: true });
    const jwk: JWK = { ...(await exportJWK(publicKey)), kid: id, alg: "ES256", use: "sig" };
    keys = [...(options.forget === true ? [] : keys), { id, privateKey, publicKey: jwk }];
  };
  await rotate();
  return {
    issuer,
    jwks: () => ({ keys: keys.map((key) => key.publicKey) }),
    sign: (claims, options = {}) => {
      const key = keys.at(-1);
      if (key === undefined) throw new Error("the issuer has no key");
      const token = new SignJWT({ ...claims })
        .setProtectedHeader({ alg: "ES256", kid: options.keyId ?? key.id, typ: "JWT" })
        .setIssuer(options.issuer ?? issuer)
        .setIssuedAt();
      const { audience, expiresInSeconds = 3_600 } = options;
      if (expiresInSeconds !== "never") token.setExpirationTime(Math.floor(Date.now() / 1_000) + expiresInSeconds);
      if (audience !== undefined) token.setAudience(typeof audience === "string" ? audience : [...audience]);
      return token.sign(key.privateKey);
    },
    rotate,
  };
}
