#!/usr/bin/env node
/** The `chancery` command. */
import { enableCompileCache } from "node:module";
import { fileURLToPath } from "node:url";

// Before anything else is loaded: a process that is started again has its sources stripped of types and compiled
// already, which halves the time until it serves. A directory that cannot be written to costs that time, no more.
enableCompileCache(fileURLToPath(new URL("../.chancery/compile-cache", import.meta.url)));

const { runProgram } = await import("./program.ts");
await runProgram(process.argv.slice(2));
