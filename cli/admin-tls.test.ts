import { join } from "node:path";
import { connect } from "node:tls";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { createRegistry, getPage, startAdminServer } from "../admin/index.ts";
import {
  closeAtEnd,
  createCertificateAuthority,
  freePort,
  runChancery,
  save,
  startChancery,
  temporaryDirectory,
  waitFor,
} from "../test/support/index.ts";
import { openAdminCertificate } from "./admin-tls.ts";
import { openKeyPairFiles } from "./certificate-files.ts";

const QUICKSTART = fileURLToPath(new URL("../examples/quickstart/resources", import.meta.url));
const OFF_LOOPBACK = { host: "0.0.0.0", port: 0 };
const LOOPBACK = { host: "127.0.0.1", port: 0 };
const quiet = { info: () => undefined, error: () => undefined };

async function setting() {
  const directory = await temporaryDirectory("admin-tls");
  const authority = createCertificateAuthority();
  const put = (name: string, text: string): Promise<string> => save(directory, name, text);
  const issue = async (names: readonly string[] = ["127.0.0.1"]) => {
    const { certificate, privateKey } = authority.issue(names);
    return { certificate: await put("tls.crt", certificate), privateKey: await put("tls.key", privateKey) };
  };
  return { directory, put, issue, ca: await put("ca.crt", authority.certificate), authority };
}

test("off loopback there is no admin address without a certificate, which is there for an address alone", async () => {
  const refused = (message: string) => ({ code: "invalid-argument", message: expect.stringContaining(message) });
  expect(await openAdminCertificate({}, LOOPBACK, quiet)).toBeUndefined();
  expect(await openAdminCertificate({}, undefined, quiet)).toBeUndefined();
  await expect(openAdminCertificate({}, OFF_LOOPBACK, quiet)).rejects.toMatchObject(
    refused("add --admin-tls-certificate FILE and --admin-tls-key FILE"),
  );
  const half = { adminTlsCertificate: "a" };
  await expect(openAdminCertificate(half, OFF_LOOPBACK, quiet)).rejects.toMatchObject(refused("belong together"));
  const unused = { ...half, adminTlsKey: "b" };
  await expect(openAdminCertificate(unused, undefined, quiet)).rejects.toMatchObject(refused("add --admin ADDRESS"));
  await expect(openAdminCertificate(unused, LOOPBACK, quiet)).rejects.toMatchObject({ code: "not-found" });
});

test("new files reach new connections of an admin address, and bad ones do not", async () => {
  const { put, issue, authority } = await setting();
  const errors: unknown[] = [];
  const log = { info: () => undefined, error: (fields: unknown) => errors.push(fields) };
  const tls = await openKeyPairFiles(await issue(), log, 5);
  onTestFinished(() => tls.close());
  const server = await startAdminServer({ ...OFF_LOOPBACK, notReady: () => [], metrics: createRegistry(), tls });
  closeAtEnd(server);
  const names = (): Promise<string> =>
    new Promise((resolve, reject) => {
      const port = Number(server.address.split(":")[1]);
      const socket = connect({ host: "127.0.0.1", port, ca: authority.certificate }, () => {
        resolve(socket.getPeerCertificate().subjectaltname ?? "");
        socket.destroy();
      }).on("error", reject);
    });
  await put("tls.crt", "nothing");
  await waitFor(() => errors.length > 0, 10_000, "the complaint about a file that is no certificate");
  expect(await names()).toBe("IP Address:127.0.0.1");
  const half = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
  const { certificate, privateKey } = authority.issue(["127.0.0.1", "torn.example"]);
  await put("tls.key", privateKey);
  await put("tls.crt", `${certificate}${half}`);
  await waitFor(() => JSON.stringify(errors).includes("chain"), 10_000, "the complaint about a chain that is torn");
  expect(await names()).toBe("IP Address:127.0.0.1");
  await issue(["127.0.0.1", "renewed.example"]);
  await waitFor(async () => (await names()).includes("renewed.example"), 10_000, "the renewed certificate");
});

test.each([["start"], ["xds"], ["authz"]])(
  "%s does not start with an admin address off loopback in clear",
  {
    timeout: 60_000,
  },
  async (verb) => {
    const { directory } = await setting();
    const address = verb === "start" ? "--control" : "--admin";
    const run = await runChancery(verb, "--resources", QUICKSTART, "--state", directory, address, "0.0.0.0:0");
    expect(run.code).toBe(2);
    expect(run.stderr).toContain("--admin-tls-certificate FILE and --admin-tls-key FILE");
  },
);

test("status reads a control plane off loopback over TLS, with its token", { timeout: 120_000 }, async () => {
  const { directory, put, issue, ca } = await setting();
  const { certificate, privateKey } = await issue();
  const token = await put("token", "a-token-of-this-test");
  const [xds, authz, control] = [await freePort(), await freePort(), await freePort()];
  const child = closeAtEnd(
    await startChancery([
      ...["start", "--resources", QUICKSTART, "--state", join(directory, "state"), "--token-file", token],
      ...["--xds", `${xds}`, "--authz", `${authz}`, "--control", `0.0.0.0:${control}`],
      ...["--admin-tls-certificate", certificate, "--admin-tls-key", privateKey],
    ]),
  );
  await child.waitForOutput(new RegExp(`^ready {2}.*control https://0\\.0\\.0\\.0:${control}`, "m"), 60_000);
  const place = ["--control", `https://127.0.0.1:${control}`, "--token-file", token];
  const known = await runChancery("status", ...place, "--ca", ca);
  expect([known.code, known.stdout]).toEqual([0, expect.stringMatching(/^revision 1 /)]);
  const node = await runChancery("status", "edge-1", ...place, "--ca", ca);
  expect(node.stderr).toContain('no node "edge-1" has been connected');
  const unknown = await runChancery("status", ...place);
  expect([unknown.code, unknown.stderr]).toEqual([3, expect.stringContaining("certificate")]);
  expect(unknown.stderr).not.toContain("a-token-of-this-test");
  await expect(getPage({ control: `http://127.0.0.1:${control}` }, "/healthz")).rejects.toThrow("cannot be reached");
});
