/**
 * The folders are the stages that data passes through. A folder imports only from folders before it, and only through
 * their index.ts. Generated code (protos/gen) and setup/tools.json (data) are free for all.
 */
const stages = [
  "resources",
  "policy",
  "envoy",
  "compiler",
  "revision",
  "distribution",
  "xds-server",
  "ext-authz",
  "audit",
  "governance",
  "admin",
  "console",
  "cli",
];

/** Folders that are no stage: nothing on the way imports from them, and what they import is their own business. */
const outside = ["test", "examples", "deploy", "setup"];

const any = (names) => `(?:${names.join("|")})`;
const drawers = "(?:^|/)(?:utils?|helpers?|common|shared|lib|misc)(?:/|[.][cm]?[jt]s$)";
/** Tests and what only they use: fixtures, and contracts that several implementations pass. */
const tests = "(?:[.]test|(?:^|[/-])fixtures?|-contract)[.]ts$";
const otherFiles = "^(?!protos/)";

const oneWay = stages.slice(0, -1).map((stage, position) => ({
  name: `one-way-${stage}`,
  comment: `${stage}/ comes before these folders on the way of the data and may not know them.`,
  severity: "error",
  from: { path: `^${stage}/` },
  to: { path: `^${any(stages.slice(position + 1))}/` },
}));

module.exports = {
  forbidden: [
    ...oneWay,
    {
      name: "through-index",
      comment: "Another folder is entered through its index.ts, which says what it promises.",
      severity: "error",
      from: { path: `^(${any(stages)})/` },
      to: { path: `^${any(stages)}/`, pathNot: ["^$1/", "^[^/]+/index[.]ts$"] },
    },
    {
      name: "no-test-support",
      comment: "Only tests use test/, examples/ and fixtures; from set-up only its data (setup/tools.json) is used.",
      severity: "error",
      from: { path: `^${any(stages)}/`, pathNot: tests },
      to: { path: ["^test/", "^examples/", "^deploy/", "^setup/", tests], pathNot: "^setup/tools[.]json$" },
    },
    {
      name: "known-folder",
      comment: "A new folder needs its place in the order of .dependency-cruiser.cjs.",
      severity: "error",
      from: { path: "^[^/]+/", pathNot: `^${any([...stages, ...outside, "protos"])}/` },
      to: { path: otherFiles },
    },
    {
      name: "no-drawers",
      comment: "A function lives with the thing it is about, not in a drawer.",
      severity: "error",
      from: { path: otherFiles, pathNot: drawers },
      to: { path: drawers, pathNot: "node_modules" },
    },
    {
      name: "no-orphan-drawers",
      comment: "A function lives with the thing it is about, not in a drawer.",
      severity: "error",
      from: { path: drawers, orphan: true },
      to: {},
    },
    {
      name: "no-cycles",
      comment: "Files that need each other are one concept, or hide a third. Types may refer to each other.",
      severity: "error",
      from: { path: otherFiles },
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    {
      name: "resolvable",
      comment: "The import names nothing that exists.",
      severity: "error",
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: "declared-dependency",
      comment: "What runs in production is under dependencies in package.json.",
      severity: "error",
      from: { path: `^${any(stages)}/`, pathNot: tests },
      to: {
        dependencyTypes: ["npm-dev", "npm-no-pkg", "npm-unknown"],
        dependencyTypesNot: ["type-only"],
      },
    },
  ],
  options: {
    exclude: { path: ["^node_modules/[.]", "^[.][a-z]", "^protos/gen/", "^test-results/", "^dist/"] },
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "default"],
      extensions: [".ts", ".mjs", ".cjs", ".js", ".json"],
    },
    moduleSystems: ["es6", "cjs"],
  },
};
