import { type Command, Option } from "commander";
import type { Address } from "./address.ts";
import { type AdminTlsOptions, addAdminTlsOptions } from "./admin-tls.ts";
import { createLogger, LOG_LEVELS, type Logger } from "./logging.ts";
import { addressOption, parseSeconds } from "./options.ts";

/** Options of every command that stays. */
export interface ProcessOptions {
  readonly logLevel: string;
  readonly logFormat?: string;
  readonly stopSeconds: number;
}

export function addProcessOptions(command: Command): Command {
  return command
    .addOption(new Option("--log-level <level>", "least level of the log lines").choices(LOG_LEVELS).default("info"))
    .addOption(
      new Option("--log-format <format>", "of the log on stderr (default: pretty on a terminal, else json)").choices([
        "json",
        "pretty",
      ]),
    )
    .option("--stop-seconds <n>", "how long a stop may take before what still runs is left behind", parseSeconds, 10);
}

export function loggerOf(options: ProcessOptions, name: string): Logger {
  const format = options.logFormat === undefined ? {} : { format: options.logFormat };
  return createLogger({ level: options.logLevel, name, ...format });
}

/** Health and metrics of one process. */
export interface AdminOptions extends AdminTlsOptions {
  readonly admin?: Address;
}

export function addAdminOption(command: Command): Command {
  return addAdminTlsOptions(
    command.option("--admin <addr>", "serve /healthz, /readyz and /metrics here", addressOption),
  );
}

/** The admin API, beside health and metrics. */
export interface ApiOptions extends AdminOptions {
  readonly tokenFile?: string;
}

export function addApiOptions(command: Command): Command {
  return addAdminOption(command).option(
    "--token-file <file>",
    "bearer token of the admin API (chancery quarantine), which off loopback is served with one alone",
  );
}
