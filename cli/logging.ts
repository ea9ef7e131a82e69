import { destination, type Level, type Logger, levels, pino, stdTimeFunctions } from "pino";
import { ChanceryError, printable, printableLines } from "../resources/index.ts";

export type { Logger } from "pino";

export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;

export interface LogOptions {
  readonly level: string;
  /** Absent: pretty on a terminal, else JSON. */
  readonly format?: string;
  /** Name of the process in each line. */
  readonly name: string;
}

/** Logs go to stderr, so that stdout carries only what a command answers. */
export function createLogger(options: LogOptions): Logger {
  const { level } = options;
  if (!LOG_LEVELS.some((each) => each === level)) {
    throw new ChanceryError("invalid-argument", `"${level}" is not a log level: ${LOG_LEVELS.join(", ")}`);
  }
  const format = options.format ?? (process.stderr.isTTY ? "pretty" : "json");
  if (format !== "json" && format !== "pretty") {
    throw new ChanceryError("invalid-argument", `"${format}" is not a log format: json, pretty`);
  }
  const stderr = destination({ fd: 2, sync: true });
  const settings = {
    level,
    name: options.name,
    base: { pid: process.pid },
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  if (format === "json") return pino(settings, stderr);
  return pino(settings, { write: (line: string) => void stderr.write(prettyLine(line)) });
}

/** `12:00:01.123 WARN  authz-1: message key=value`. A line that is not JSON stays as it is. */
export function prettyLine(line: string): string {
  let entry: Record<string, unknown>;
  try {
    entry = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return line;
  }
  const { level, time, name, msg, pid: _, err, ...rest } = entry;
  const fields = Object.entries(rest).map(
    ([key, value]) => ` ${key}=${printable(typeof value === "string" ? value : JSON.stringify(value))}`,
  );
  const clock = String(time).slice(11, 23);
  const stack = isErrorEntry(err) ? `\n    ${indented(err.stack ?? err.message)}` : "";
  const text = indented(String(msg ?? ""));
  return `${clock} ${String(level).toUpperCase().padEnd(5)} ${name}: ${text}${fields.join("")}${stack}\n`;
}

/** Lines that no text can forge: those after the first stand further in. */
function indented(text: string): string {
  return printableLines(text).replaceAll("\n", "\n    ");
}

function isErrorEntry(value: unknown): value is { readonly message: string; readonly stack?: string } {
  return typeof value === "object" && value !== null && "message" in value;
}

/** The level of a line that another program wrote at `word` ("warning", "critical"). */
export function levelOf(word: string): Level {
  const known: Record<string, Level> = { warning: "warn", err: "error", critical: "fatal", dbg: "debug" };
  return known[word] ?? (Object.hasOwn(levels.values, word) ? (word as Level) : "info");
}
