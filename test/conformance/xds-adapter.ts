import { once } from "node:events";
import { Command } from "commander";
import { pino } from "pino";
import { startXdsAdapter } from "./adapter.ts";

interface Options {
  readonly adapter: string;
  readonly target: string;
  readonly logLevel: string;
}

/** `npm run xds-adapter`: the xDS server, driven by test suites through protos/adapter/control.proto. */
const command = new Command("xds-adapter")
  .description("serve the test API of the xDS server, and the xDS server that it drives; plaintext, for loopback only")
  .option("--adapter <addr>", "where the test API is served", "127.0.0.1:17000")
  .option("--target <addr>", "where xDS is served", "127.0.0.1:18000")
  .option("--log-level <level>", "silent, error, warn, info or debug; to standard error", "silent")
  .action(async ({ adapter, target, logLevel }: Options) => {
    const log = pino({ level: logLevel }, pino.destination(2));
    const running = await startXdsAdapter({ adapter, target, log });
    process.stdout.write(`ready  adapter port ${running.adapterPort}, target port ${running.targetPort}\n`);
    await Promise.race([once(process, "SIGTERM"), once(process, "SIGINT")]);
    await running.close();
  });

await command.parseAsync();
