import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { closeAtEnd, createCertificateAuthority, freePort, startChancery } from "../test/support/index.ts";
import { readTls } from "./process-options.ts";

const QUICKSTART = fileURLToPath(new URL("../examples/quickstart/resources", import.meta.url));

test("a certificate goes with its key and the clients' CA", async () => {
  expect(await readTls({})).toBeUndefined();
  await expect(readTls({ tlsCertificate: "a" })).rejects.toMatchObject({ code: "invalid-argument" });
  const missing = { tlsCertificate: "/nonexistent", tlsKey: "/nonexistent", clientCa: "/nonexistent" };
  await expect(readTls(missing)).rejects.toMatchObject({ code: "not-found" });
});

test("off loopback xDS hears only clients with a certificate", { timeout: 120_000 }, async () => {
  const directory = await mkdtemp(join(tmpdir(), "chancery-tls-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const authority = createCertificateAuthority();
  const server = authority.issue(["localhost"]);
  const file = async (name: string, text: string): Promise<string> => {
    await writeFile(join(directory, name), text);
    return join(directory, name);
  };
  const port = await freePort();
  const child = closeAtEnd(
    await startChancery([
      ...["xds", "--resources", QUICKSTART, "--state", join(directory, "state"), "--listen", `0.0.0.0:${port}`],
      ...["--tls-certificate", await file("server.pem", server.certificate)],
      ...["--tls-key", await file("server.key", server.privateKey)],
      ...["--client-ca", await file("ca.pem", authority.certificate)],
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
