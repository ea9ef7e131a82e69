#!/usr/bin/env node
/** The `chancery` command. */
import module from "node:module";
import { fileURLToPath } from "node:url";

const NODE_MAJOR = 24;
// The package may meet any Node: an older one must be named, not fail on the first thing that it lacks.
if (Number(process.versions.node.split(".")[0]) < NODE_MAJOR) {
  process.stderr.write(`chancery needs Node ${NODE_MAJOR} or later; this is Node ${process.versions.node}\n`);
  process.exit(1);
}

// Before anything else is loaded: a process that is started again has its sources stripped of types and compiled
// already, which halves the time until it serves. A directory that cannot be written to costs that time, no more.
module.enableCompileCache(fileURLToPath(new URL("../.chancery/compile-cache", import.meta.url)));

const { runProgram } = await import("./program.ts");
await runProgram(process.argv.slice(2));
