import { CelScalar, celEnv, mapType, parse as peerParse, plan } from "@bufbuild/cel";
import { Environment as CelJs } from "@marcbachmann/cel-js";
import { check, compile, environment, parse, parseType, type Type } from "../../policy/cel/index.ts";

/**
 * One condition, evaluated over and over: our engine, @bufbuild/cel and @marcbachmann/cel-js, each with its own form of
 * the same 2,000 inputs, in turns within one run. Prints nanoseconds of CPU for each evaluation and the ratios; every
 * answer is compared before anything is timed, and counted while it is. Each engine is used the best way that its
 * interface allows: ours with a reader for each variable and field, cel-js with declared types and fields, bufbuild's
 * with bindings made ready before the clock starts.
 */

const INPUTS = 2_000;
const ROUNDS = 7;

class RequestRecord {
  readonly method: string;
  readonly path: string;

  constructor(method: string, path: string) {
    this.method = method;
    this.path = path;
  }
}

/** What an evaluation is given, as the views of a request are. */
class Input {
  readonly request: RequestRecord;
  readonly subject: Map<string, unknown>;

  constructor(request: RequestRecord, subject: Map<string, unknown>) {
    this.request = request;
    this.subject = subject;
  }
}

const EXPRESSIONS: Readonly<Record<string, string>> = {
  "four terms":
    'subject.tenant == "t7" && request.method == "POST" && request.path.startsWith("/v1/") && ' +
    '(subject.region in ["EU", "UK"] || "admin" in subject.roles)',
  equality: 'request.method == "POST"',
  membership: 'subject.region in ["EU", "UK", "CH"]',
  loop: 'subject.roles.exists(r, r.startsWith("adm"))',
  pattern: 'request.path.matches("^/v1/[a-z]+/[0-9]+$")',
};

function inputAt(index: number): Input {
  const path = index % 3 === 0 ? `/health/${index}` : `/v1/models/${index}`;
  const roles = ["user", index % 7 === 0 ? "admin" : "reader", `team-${index % 50}`];
  const region = ["EU", "US", "UK", "JP"][index % 4];
  return new Input(
    new RequestRecord(index % 5 === 0 ? "GET" : "POST", path),
    new Map<string, unknown>([
      // Half of the inputs get past the first term.
      ["tenant", index % 2 === 0 ? "t7" : `t${index % 100}`],
      ["region", region],
      ["roles", roles],
      ["id", `user-${index}`],
    ]),
  );
}

type Evaluate = (index: number) => boolean;

interface Engine {
  readonly name: string;
  readonly evaluate: Evaluate;
  /** Passes over the inputs in one round: slow engines get fewer. */
  readonly passes: number;
}

function typed(text: string): Type {
  const type = parseType(text);
  if (type === undefined) throw new Error(`not a type: ${text}`);
  return type;
}

function ours(source: string, inputs: readonly Input[]): Engine {
  const scope = environment({
    records: [
      [
        "Request",
        {
          view: RequestRecord,
          fields: new Map([
            [
              "method",
              { type: typed("string"), read: (from) => (from instanceof RequestRecord ? from.method : undefined) },
            ],
            [
              "path",
              { type: typed("string"), read: (from) => (from instanceof RequestRecord ? from.path : undefined) },
            ],
          ]),
        },
      ],
    ],
    variables: [
      ["request", { type: typed("Request"), read: (from) => (from instanceof Input ? from.request : undefined) }],
      [
        "subject",
        { type: typed("map<string, dyn>"), read: (from) => (from instanceof Input ? from.subject : undefined) },
      ],
    ],
  });
  const parsed = parse(source);
  if (!parsed.ok) throw new Error(parsed.problems[0]?.message);
  const checked = check(parsed.expr, source, scope);
  if (!checked.ok) throw new Error(checked.problems[0]?.message);
  const program = compile(checked.tree, scope);
  return { name: "ours", passes: 100, evaluate: (index) => program.evaluate(inputs[index]) === true };
}

function celJs(source: string, inputs: readonly Input[]): Engine {
  const run = new CelJs()
    .registerType("Request", { ctor: RequestRecord, fields: { method: "string", path: "string" } })
    .registerVariable("request", "Request")
    .registerVariable("subject", "map<string, dyn>")
    .parse(source);
  return { name: "@marcbachmann/cel-js", passes: 20, evaluate: (index) => run(inputs[index]) === true };
}

function bufbuild(source: string, inputs: readonly Input[]): Engine {
  const dynamic = mapType(CelScalar.STRING, CelScalar.DYN);
  const run = plan(celEnv({ variables: { request: dynamic, subject: dynamic } }), peerParse(source));
  const bindings = inputs.map(({ request, subject }) => ({
    request: new Map(Object.entries(request)),
    subject: new Map([...subject].map(([key, value]) => [key, value as string])),
  }));
  return {
    name: "@bufbuild/cel",
    passes: 3,
    evaluate: (index) => {
      const bound = bindings[index];
      return bound !== undefined && run(bound) === true;
    },
  };
}

/** CPU nanoseconds of one evaluation in one round. */
function measure({ evaluate, passes }: Engine, wanted: number): number {
  const before = process.cpuUsage();
  let answered = 0;
  for (let pass = 0; pass < passes; pass += 1) {
    for (let index = 0; index < INPUTS; index += 1) if (evaluate(index)) answered += 1;
  }
  const { user, system } = process.cpuUsage(before);
  if (answered !== wanted * passes) throw new Error(`${answered} true answers, not ${wanted * passes}`);
  return ((user + system) * 1000) / (passes * INPUTS);
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

const inputs = Array.from({ length: INPUTS }, (_, index) => inputAt(index));

for (const [name, source] of Object.entries(EXPRESSIONS)) {
  const engines = [ours(source, inputs), celJs(source, inputs), bufbuild(source, inputs)];
  const [first] = engines;
  if (first === undefined) break;
  let wanted = 0;
  for (let index = 0; index < INPUTS; index += 1) {
    const answers = engines.map(({ evaluate }) => evaluate(index));
    if (new Set(answers).size !== 1) throw new Error(`${name}: the engines disagree on input ${index}: ${answers}`);
    if (answers[0] === true) wanted += 1;
  }
  const rounds = engines.map((): number[] => []);
  for (let round = 0; round <= ROUNDS; round += 1) {
    for (const [at, engine] of engines.entries()) {
      const figure = measure(engine, wanted);
      // The first round warms up.
      if (round > 0) rounds[at]?.push(figure);
    }
  }
  const base = median(rounds[0] ?? []);
  process.stdout.write(`${name}: ${source}\n  ${wanted} of ${INPUTS} are true\n`);
  for (const [at, { name: engine }] of engines.entries()) {
    const figures = rounds[at] ?? [];
    const raw = figures.map((figure) => figure.toFixed(0)).join(" ");
    const middle = median(figures);
    process.stdout.write(
      `  ${engine.padEnd(22)} ${middle.toFixed(0)} ns, ${(middle / base).toFixed(1)}× (rounds: ${raw})\n`,
    );
  }
}
