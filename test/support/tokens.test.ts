import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from "jose";
import { expect, test } from "vitest";
import { createTokenIssuer, type TokenIssuer } from "./tokens.ts";

const keysOf = (issuer: TokenIssuer) => createLocalJWKSet({ keys: [...issuer.jwks().keys] } as JSONWebKeySet);

test("signs tokens that verify with its keys until they are forgotten", async () => {
  const issuer = await createTokenIssuer("https://id.acme.example");
  const token = await issuer.sign({ sub: "alice", groups: ["a"] }, { audience: "gateway" });
  const { payload } = await jwtVerify(token, keysOf(issuer), { issuer: issuer.issuer, audience: "gateway" });
  expect(payload).toMatchObject({ sub: "alice", groups: ["a"] });

  await issuer.rotate();
  await jwtVerify(token, keysOf(issuer));
  await issuer.rotate({ forget: true });
  await expect(jwtVerify(token, keysOf(issuer))).rejects.toThrow();
});

test("signs expired tokens when asked", async () => {
  const issuer = await createTokenIssuer("https://id.acme.example");
  const token = await issuer.sign({}, { expiresInSeconds: -60 });
  await expect(jwtVerify(token, keysOf(issuer))).rejects.toThrow(/exp/);
});
