import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import {
  closeAtEnd,
  createCertificateAuthority,
  freePort,
  save,
  startChancery,
  temporaryDirectory,
  waitFor,
} from "../test/support/index.ts";
import { openCertificateFiles } from "./certificate-files.ts";

const QUICKSTART = fileURLToPath(new URL("../examples/quickstart/resources", import.meta.url));

const quiet = { info: () => undefined, error: () => undefined };

test("a certificate goes with its key and the clients' CA", async () => {
  expect(await openCertificateFiles({}, quiet)).toBeUndefined();
  await expect(openCertificateFiles({ tlsCertificate: "a" }, quiet)).rejects.toMatchObject({
    code: "invalid-argument",
  });
  const missing = { tlsCertificate: "/nonexistent", tlsKey: "/nonexistent", clientCa: "/nonexistent" };
  await expect(openCertificateFiles(missing, quiet)).rejects.toMatchObject({ code: "not-found" });
});

test("a renewed certificate is taken, one that does not hold together is not", async () => {
  const directory = await temporaryDirectory("tls");
  const authority = createCertificateAuthority();
  const put = (name: string, text: string): Promise<string> => save(directory, name, text);
  const first = authority.issue(["localhost"]);
  const options = {
    tlsCertificate: await put("tls.crt", first.certificate),
    tlsKey: await put("tls.key", first.privateKey),
    clientCa: await put("ca.crt", authority.certificate),
  };
  const errors: unknown[] = [];
  const log = { info: () => undefined, error: (fields: unknown) => errors.push(fields) };
  const files = await openCertificateFiles(options, log, 5);
  onTestFinished(() => files?.close());
  const seen: string[] = [];
  files?.onChange(({ certificate }) => seen.push(certificate.toString()));

  const second = authority.issue(["localhost"]);
  await put("tls.crt", second.certificate);
  await waitFor(() => errors.length > 0, 10_000, "the complaint about a certificate without its key");
  expect(JSON.stringify(errors)).toContain("is not that of");
  expect(files?.current().certificate.toString()).toBe(first.certificate);
  await put("tls.key", second.privateKey);
  await waitFor(() => seen.length > 0, 10_000, "the renewed certificate");
  expect(seen).toEqual([second.certificate]);
  expect(files?.current().privateKey.toString()).toBe(second.privateKey);

  await put("tls.key", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n");
  const broken = openCertificateFiles(options, quiet);
  await expect(broken).rejects.toMatchObject({
    code: "invalid-argument",
    message: expect.not.stringContaining("c2Vj"),
  });
});

test("off loopback xDS hears only clients with a certificate", { timeout: 120_000 }, async () => {
  const directory = await temporaryDirectory("tls");
  const authority = createCertificateAuthority();
  const server = authority.issue(["localhost"]);
  const put = (name: string, text: string): Promise<string> => save(directory, name, text);
  const port = await freePort();
  const child = closeAtEnd(
    await startChancery([
      ...["xds", "--resources", QUICKSTART, "--state", join(directory, "state"), "--listen", `0.0.0.0:${port}`],
      ...["--tls-certificate", await put("server.pem", server.certificate)],
      ...["--tls-key", await put("server.key", server.privateKey)],
      ...["--client-ca", await put("ca.pem", authority.certificate)],
    ]),
  );
  await child.waitForOutput(/^ready {2}xds /m, 60_000);

  const client = authority.issue(["envoy-1"]);
  const known = await dial(port, { ca: authority.certificate, cert: client.certificate, key: client.privateKey });
  expect(known).toBe("settings");
  expect(await dial(port, { ca: authority.certificate })).toBe("refused");
});

/** "settings" when the server begins to speak HTTP/2. */
function dial(port: number, tls: { ca: string; cert?: string; key?: string }): Promise<"settings" | "refused"> {
  return new Promise((resolve) => {
    const socket: TLSSocket = connect({
      host: "127.0.0.1",
      port,
      servername: "localhost",
      ALPNProtocols: ["h2"],
      ...tls,
    });
    const end = (outcome: "settings" | "refused") => () => {
      socket.destroy();
      resolve(outcome);
    };
    socket.once("data", end("settings")).once("error", end("refused")).once("close", end("refused"));
  });
}
