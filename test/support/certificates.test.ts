import { createPrivateKey, X509Certificate } from "node:crypto";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { createCertificateAuthority } from "./certificates.ts";
import { closeAtEnd } from "./close-at-end.ts";
import { http } from "./http-client.ts";

test("issues certificates that a TLS client accepts with their root, and with no other", async () => {
  const authority = createCertificateAuthority();
  const { certificate, privateKey } = authority.issue(["localhost", "127.0.0.1", "spiffe://acme/web"]);
  const server = createServer({ cert: certificate, key: privateKey }, (_, response) => response.end("hello"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closeAtEnd(server);
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/`;

  expect((await http(url, { ca: authority.certificate, servername: "localhost" })).text()).toBe("hello");
  expect((await http(url, { ca: authority.certificate })).text()).toBe("hello");
  await expect(http(url, { ca: createCertificateAuthority().certificate, servername: "localhost" })).rejects.toThrow();
  await expect(http(url, { ca: authority.certificate, servername: "other" })).rejects.toThrow(/altnames/);
});

test("writes names, validity and the matching key", () => {
  const authority = createCertificateAuthority("Acme");
  const { certificate, privateKey } = authority.issue(["a.example", "spiffe://acme/a"], { days: -1 });
  const parsed = new X509Certificate(certificate);
  expect(parsed.subject).toBe("CN=a.example");
  expect(parsed.subjectAltName).toBe("DNS:a.example, URI:spiffe://acme/a");
  expect(parsed.verify(new X509Certificate(authority.certificate).publicKey)).toBe(true);
  expect(parsed.checkPrivateKey(createPrivateKey(privateKey))).toBe(true);
  expect(new X509Certificate(authority.certificate).ca).toBe(true);
  expect(parsed.validToDate.getTime()).toBeLessThan(Date.now());
  expect(parsed.validFromDate.getTime()).toBeLessThan(parsed.validToDate.getTime());
});
