import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runChancery, temporaryDirectory } from "../test/support/index.ts";
import { bootstrapCommand } from "./bootstrap.ts";
import { startCommand } from "./start.ts";

const NODE = ["--gateway", "edge", "--node-id", "edge-1"];

test.each(["0.0.0.0:9901", "10.0.0.5:9901", "[::]:9901", "envoy.example:9901"])(
  "Envoy's admin interface on %s is refused unless it is said to be unprotected",
  async (address) => {
    const bootstrap = bootstrapCommand().parseAsync([...NODE, "--admin", address], { from: "user" });
    await expect(bootstrap).rejects.toMatchObject({
      code: "invalid-argument",
      message: expect.stringContaining("or say --unprotected-admin"),
    });
    const start = startCommand().parseAsync(["--resources", "none", "--envoy", "--envoy-admin", address], {
      from: "user",
    });
    await expect(start).rejects.toMatchObject({
      code: "invalid-argument",
      message: expect.stringContaining("or say --unprotected-envoy-admin"),
    });
  },
);

test("of decision services on Unix sockets nobody need say what their certificates must name", async () => {
  const directory = await temporaryDirectory("bootstrap");
  const files = ["tls.crt", "tls.key", "ca.crt"].map((name) => join(directory, name));
  for (const file of files) await writeFile(file, "");
  const [certificate = "", key = "", ca = ""] = files;
  const remote = [
    ...["bootstrap", ...NODE, "--xds", "10.0.0.5:18000", "--authz", "unix:/run/authz.sock"],
    ...["--admin", "0.0.0.0:9901", "--unprotected-admin"],
    ...["--certificate", certificate, "--key", key, "--ca", ca, "--sds-dir", join(directory, "sds")],
  ];
  const unsaid = bootstrapCommand().parseAsync(remote.slice(1), { from: "user" });
  await expect(unsaid).rejects.toThrow("TLS needs --xds-identity as well");
  const made = await runChancery(...remote, "--xds-identity", "spiffe://acme.example/xds");
  expect(made).toMatchObject({ code: 0, stderr: "" });
  const json = JSON.parse(made.stdout);
  expect(json.admin.address.socket_address).toEqual({ address: "0.0.0.0", port_value: 9901 });
  const [xds, authz] = json.static_resources.clusters;
  expect(JSON.stringify(xds.transport_socket)).toContain("spiffe://acme.example/xds");
  expect(authz.transport_socket).toBeUndefined();
  expect(await readFile(join(directory, "sds", "server-ca.json"), "utf8")).toContain(ca);
});
