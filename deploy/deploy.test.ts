import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { expect, test } from "vitest";
import { authzCommand } from "../cli/authz.ts";
import { bootstrapCommand } from "../cli/bootstrap.ts";
import { controlCommand } from "../cli/control.ts";
import { relayCommand } from "../cli/relay.ts";
import { xdsCommand } from "../cli/xds.ts";

// Command lines that are delivered must be ones that the commands take.

const SYSTEMD = join(import.meta.dirname, "systemd");
const COMMANDS: Readonly<Record<string, () => Command>> = {
  authz: authzCommand,
  bootstrap: bootstrapCommand,
  control: controlCommand,
  relay: relayCommand,
  xds: xdsCommand,
};

/** Parses arguments as the command does, without running it. */
function parse(words: readonly string[]): unknown {
  const [verb = "", ...args] = words;
  const command = COMMANDS[verb]?.();
  if (command === undefined) throw new Error(`no command ${verb}`);
  let parsed: unknown;
  command.exitOverride().configureOutput({ writeErr: () => undefined });
  command.action((options: unknown) => {
    parsed = options;
  });
  command.parse(args, { from: "user" });
  return parsed;
}

test("units of systemd start commands with options that they have", async () => {
  const units = (await readdir(SYSTEMD)).sort();
  expect(units).toEqual(["control", "relay", "xds", "authz"].map((role) => `chancery-${role}.service`).sort());
  for (const unit of units) {
    const text = await readFile(join(SYSTEMD, unit), "utf8");
    const line = /^ExecStart=\/usr\/bin\/chancery ((?:.*\\\n)*.*)$/m.exec(text)?.[1]?.replaceAll("\\\n", " ") ?? "";
    const words = line
      .replaceAll(/\$\{[A-Z]+_NATS\}/g, "tls://nats.example:4222")
      .replaceAll(/\$\{[A-Z]+_LISTEN\}/g, "0.0.0.0:9191")
      .replaceAll(/\$\{[A-Z_]+\}/g, "eu")
      .split(/\s+/)
      .filter((word) => word !== "");
    expect(parse(words), `${unit}: ${words.join(" ")}`).toMatchObject({ natsCa: expect.stringMatching(/^\//) });
    expect(text).toContain("Restart=always");
  }
});

test("an option that does not exist is found", () => {
  expect(() => parse(["authz", "--no-such-option"])).toThrow("unknown option");
});
