// Brings everything that is needed into place before the other npm scripts run. Plain JavaScript, no dependencies, and in
// this file nothing that an old Node cannot parse: it is the one that has to say so.

const major = Number(process.versions.node.split(".")[0]);
if (major < 18) {
  process.stderr.write(
    "set-up failed: this is Node " +
      process.versions.node +
      "; set-up needs Node 18 or later (it then brings Node 24 along for the rest).\n",
  );
  process.exit(1);
}

import("./main.mjs").then((module) => module.main());
