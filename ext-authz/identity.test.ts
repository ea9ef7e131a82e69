import { describe, expect, it } from "vitest";
import { application, BATCH_KEY, CHAT_KEY, PROGRAM, sha256, token } from "./fixtures.ts";
import { type Identity, identify, type Presented } from "./identity.ts";
import { indexIdentities } from "./identity-index.ts";

const ALL = indexIdentities(PROGRAM.applications);
const NO_ANONYMOUS = indexIdentities(PROGRAM.applications.filter((app) => !app.anonymous));
const CLAIMS = {
  iss: "https://id.example",
  sub: "alice",
  aud: ["x", "gw"],
  team: ["ops", "chat"],
  org: 42,
  exp: 1795238402,
};

function present(
  headers: Readonly<Record<string, string | readonly string[]>>,
  more: Partial<Presented> = {},
): Presented {
  return {
    headers: new Map(
      Object.entries(headers).map(([name, value]) => [name, typeof value === "string" ? [value] : value]),
    ),
    claims: undefined,
    source: { address: "192.0.2.7", port: 1 },
    passesAuthorization: false,
    ...more,
  };
}

const said = (identity: Identity) => (identity.ok ? identity.application.key : identity.code);

describe("identify", () => {
  it.each(["authorization", "x-api-key", "api-key"] as const)("knows an API key in %s and takes it away", (header) => {
    const value = header === "authorization" ? `Bearer ${CHAT_KEY}` : CHAT_KEY;
    const identity = identify(ALL, present({ [header]: value }));
    expect(identity).toMatchObject({
      ok: true,
      application: { key: "acme/chat" },
      subject: { kind: "apiKey", id: "chat-1", fields: { region: "EU" } },
      headersToRemove: [header],
    });
  });

  it("takes one key in two headers as one credential, and removes both", () => {
    const identity = identify(ALL, present({ authorization: `Bearer ${CHAT_KEY}`, "api-key": CHAT_KEY }));
    expect(identity.ok && [...identity.headersToRemove].sort()).toEqual(["api-key", "authorization"]);
  });

  it("knows a verified token, with the fields that the application maps", () => {
    const identity = identify(ALL, present({ authorization: `Bearer ${token(CLAIMS)}` }, { claims: CLAIMS }));
    expect(identity).toMatchObject({
      ok: true,
      application: { key: "acme/chat" },
      subject: { kind: "jwt", id: "alice", claims: CLAIMS, fields: { tenant: "42" } },
      headersToRemove: [],
    });
  });

  it.each<[string, Presented]>([
    ["ambiguous_credentials", present({ authorization: [`Bearer ${CHAT_KEY}`, `Bearer ${CHAT_KEY}`] })],
    ["ambiguous_credentials", present({ authorization: `Bearer ${CHAT_KEY},Bearer ${BATCH_KEY}` })],
    ["ambiguous_credentials", present({ authorization: `Basic YTpi, Bearer ${CHAT_KEY}` })],
    ["ambiguous_credentials", present({ "x-api-key": [CHAT_KEY, BATCH_KEY] })],
    ["ambiguous_credentials", present({ "x-api-key": CHAT_KEY, "api-key": BATCH_KEY })],
    ["ambiguous_credentials", present({ authorization: `Bearer ${CHAT_KEY}`, "x-api-key": BATCH_KEY })],
    [
      "ambiguous_credentials",
      present({ authorization: `Bearer ${token(CLAIMS)}`, "x-api-key": CHAT_KEY }, { claims: CLAIMS }),
    ],
    // The token came from somewhere else than Authorization.
    ["ambiguous_credentials", present({ authorization: `Bearer ${CHAT_KEY}` }, { claims: CLAIMS })],
    ["ambiguous_credentials", present({}, { claims: CLAIMS })],
    ["invalid_token", present({ authorization: `Bearer ${token({ ...CLAIMS, sub: "bob" })}` }, { claims: CLAIMS })],
    ["invalid_token", present({ authorization: `Bearer ${token(CLAIMS)};junk` }, { claims: CLAIMS })],
    ["invalid_token", present({ authorization: "Bearer opaque" }, { claims: CLAIMS })],
    ["invalid_token", present({ authorization: `Bearer ${token(CLAIMS)}` })],
    ["invalid_token", present({ authorization: `bearer ${token({ iss: "https://elsewhere" })}` })],
    ["invalid_api_key", present({ authorization: "Bearer sk-unknown" })],
    ["invalid_api_key", present({ authorization: `Bearer ${CHAT_KEY} x` })],
    ["invalid_api_key", present({ authorization: CHAT_KEY })],
    ["invalid_api_key", present({ authorization: "Basic YTpi" })],
    ["invalid_api_key", present({ authorization: "Bearer" })],
    ["invalid_api_key", present({ "x-api-key": "sk-unknown" })],
    ["invalid_api_key", present({ "x-api-key": ` ${CHAT_KEY}` })],
    ["invalid_api_key", present({ "x-api-key": CHAT_KEY, "api-key": "sk-unknown" })],
    ["invalid_api_key", present({ "x-api-key": sha256(CHAT_KEY) })],
  ])("refuses with %s, anonymous application or not: %#", (code, presented) => {
    expect(said(identify(ALL, presented))).toBe(code);
    expect(said(identify(NO_ANONYMOUS, presented))).toBe(code);
  });

  it.each(["iss", "sub", "jti", "exp", "iat"])(
    "takes a token with another %s for another than was verified",
    (name) => {
      const claims = { ...CLAIMS, jti: "1", iat: 1_795_238_000 };
      const [same, other] = [token(claims), token({ ...claims, [name]: "other" })];
      expect(said(identify(ALL, present({ authorization: `Bearer ${same}` }, { claims })))).toBe("acme/chat");
      expect(said(identify(ALL, present({ authorization: `Bearer ${other}` }, { claims })))).toBe("invalid_token");
    },
  );

  it.each([
    ["another issuer", { ...CLAIMS, iss: "https://other" }],
    ["another audience", { ...CLAIMS, aud: "other" }],
    ["no audience", { ...CLAIMS, aud: undefined }],
    ["a claim that does not match", { ...CLAIMS, team: "sales" }],
    ["a claim one list deeper", { ...CLAIMS, team: [["chat"]] }],
  ])("does not know the caller of a valid token with %s", (_, claims) => {
    const presented = present({ authorization: `Bearer ${token(claims)}` }, { claims });
    expect(said(identify(ALL, presented))).toBe("unknown_caller");
  });

  it("gives a token to the application that demands the most claims, and to none on a tie", () => {
    const identity = (claims: Record<string, string>) => ({ issuer: "i", audiences: [], claims, subject: {} });
    const apps = [
      application("any", { jwt: [identity({})] }),
      application("team", { jwt: [identity({ team: "a" })] }),
      application("unit", { jwt: [identity({ unit: "u" })] }),
    ];
    const ask = (claims: Record<string, string>) =>
      said(identify(indexIdentities(apps), present({ authorization: `Bearer ${token(claims)}` }, { claims })));
    expect(ask({ iss: "i" })).toBe("any");
    expect(ask({ iss: "i", team: "a" })).toBe("team");
    expect(ask({ iss: "i", team: "a", unit: "u" })).toBe("unknown_caller");
  });

  it("reads no claim from the prototype", () => {
    const jwt = [{ issuer: "i", audiences: [], claims: {}, subject: { s: "constructor" } }];
    const claims = { iss: "i" };
    const index = indexIdentities([application("a", { jwt })]);
    const identity = identify(index, present({ authorization: `Bearer ${token(claims)}` }, { claims }));
    expect(identity).toMatchObject({ ok: true, subject: { fields: {} } });
  });

  it("takes a request without credentials for the anonymous application, where there is one", () => {
    expect(identify(ALL, present({}))).toMatchObject({
      application: { key: "acme/public" },
      subject: { kind: "anonymous", id: "anonymous" },
    });
    expect(said(identify(ALL, present({ authorization: "", "x-api-key": "" })))).toBe("acme/public");
    expect(said(identify(NO_ANONYMOUS, present({})))).toBe("missing_credentials");
    const two = indexIdentities([application("a", { anonymous: true }), application("b", { anonymous: true })]);
    expect(said(identify(two, present({})))).toBe("missing_credentials");
  });

  it("names the subject by its client certificate", () => {
    const source = { address: "192.0.2.7", port: 1, principal: "spiffe://acme/agent" };
    expect(identify(ALL, present({}, { source }))).toMatchObject({
      application: { key: "acme/public" },
      subject: { kind: "mtls", id: "spiffe://acme/agent" },
    });
  });

  it("gives a key that two applications claim to neither", () => {
    const apiKeys = [{ id: "k", sha256: sha256("k"), subject: {} }];
    const index = indexIdentities([application("a", { apiKeys }), application("b", { apiKeys })]);
    expect(said(identify(index, present({ "x-api-key": "k" })))).toBe("invalid_api_key");
  });

  describe("where every target gets the client's own Authorization", () => {
    const passing = (headers: Parameters<typeof present>[0]) =>
      identify(ALL, present(headers, { passesAuthorization: true }));

    it.each([
      "Bearer opaque",
      "Basic YTpi",
      "AWS4-HMAC-SHA256 Credential=a, Signature=b",
      `Bearer ${token({ iss: "https://theirs" })}`,
    ])("passes %s and takes the caller for anonymous", (authorization) => {
      expect(passing({ authorization })).toMatchObject({ application: { key: "acme/public" }, headersToRemove: [] });
      expect(said(identify(NO_ANONYMOUS, present({ authorization }, { passesAuthorization: true })))).toBe(
        "missing_credentials",
      );
    });

    it("passes it beside an API key of ours in another header, which says who asks", () => {
      expect(passing({ authorization: "Bearer opaque", "x-api-key": CHAT_KEY })).toMatchObject({
        application: { key: "acme/chat" },
        headersToRemove: ["x-api-key"],
      });
    });

    it("still refuses a token of an issuer that is configured here, unknown keys and joined values", () => {
      expect(said(passing({ authorization: `Bearer ${token(CLAIMS)}` }))).toBe("invalid_token");
      expect(said(passing({ authorization: `Bearer ${token(CLAIMS)};junk` }))).toBe("invalid_token");
      expect(said(passing({ "x-api-key": "sk-unknown" }))).toBe("invalid_api_key");
      expect(said(passing({ authorization: "Bearer a, Bearer b" }))).toBe("ambiguous_credentials");
    });

    it("still takes an API key of ours away", () => {
      expect(passing({ authorization: `Bearer ${CHAT_KEY}` })).toMatchObject({
        application: { key: "acme/chat" },
        headersToRemove: ["authorization"],
      });
    });
  });
});
