import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { nkeys } from "@nats-io/nats-core";
import fc from "fast-check";
import { expect, test } from "vitest";
import { temporaryDirectory } from "../test/support/index.ts";
import { natsCredentials } from "./nats-credentials.ts";
import { demandSafeServers } from "./nats-servers.ts";
import { natsNames } from "./nats-streams.ts";

test.each([
  [[], true, "no NATS server"],
  [["127.0.0.1:4222"], true, "nats://host:port"],
  [["http://127.0.0.1:4222"], true, "nats://host:port"],
  [["nats://somebody:secret@127.0.0.1:4222"], true, "belong in a file"],
  [["nats://127.0.0.1:4222", "nats://10.0.0.1:4222"], false, "with TLS alone"],
  [["nats://127.0.0.1.example.com:4222"], false, "with TLS alone"],
  [["tls://127.0.0.1:4222"], false, "name the CA"],
])("refuses the servers %j with TLS %s", (servers, tls, message) => {
  expect(() => demandSafeServers(servers, tls)).toThrow(message);
  expect(() => demandSafeServers(servers, tls)).not.toThrow("secret");
});

test.each([
  [["nats://127.0.0.1:4222", "nats://localhost:4223", "nats://[::1]:4224"], false],
  [["tls://nats.example.com:4222"], true],
])("takes the servers %j with TLS %s", (servers, tls) => {
  expect(() => demandSafeServers(servers, tls)).not.toThrow();
});

test("takes credentials as they are at each connection, and says what is no credential", async () => {
  const directory = await temporaryDirectory("nats-creds");
  const file = join(directory, "user.nk");
  expect(() => natsCredentials(file)).toThrow("cannot be read");
  await writeFile(file, "secret that is none");
  expect(() => natsCredentials(file)).toThrow(/is neither/);
  expect(() => natsCredentials(file)).not.toThrow("secret that is none");
  const [first, second] = [nkeys.createUser(), nkeys.createUser()];
  await writeFile(file, `# of authz-1\n${new TextDecoder().decode(first.getSeed())}\n`);
  const authenticator = natsCredentials(file);
  expect(authenticator("nonce")).toMatchObject({ nkey: first.getPublicKey() });
  await writeFile(file, second.getSeed());
  expect(authenticator("nonce")).toMatchObject({ nkey: second.getPublicKey() });
});

test("refuses a prefix that is more than one token", () => {
  for (const prefix of ["", "a.b", "*", ">", "a b", "x".repeat(65)]) expect(() => natsNames(prefix)).toThrow("prefix");
});

test("every reporter has a subject of its own that NATS takes", () => {
  const names = natsNames("chancery");
  expect(names.report("authz", "eu/authz-1")).toBe("chancery.report.region.eu.authz.authz-1");
  const reporter = fc.string({
    minLength: 1,
    maxLength: 20,
    unit: fc.constantFrom("a", "/", ".", "*", ">", "%", " ", "é"),
  });
  fc.assert(
    fc.property(reporter, reporter, (one, other) => {
      const subject = names.report("xds", one);
      expect(subject).toMatch(/^chancery\.report\.(region\.[A-Za-z0-9_%-]+\.)*xds\.[A-Za-z0-9_%-]+$/);
      if (one !== other) expect(names.report("xds", other)).not.toBe(subject);
    }),
  );
});
