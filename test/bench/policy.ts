import { CelScalar, celEnv, mapType, parse as peerParse, plan } from "@bufbuild/cel";
import { Environment as CelJs } from "@marcbachmann/cel-js";
import { check, compile, environment, parse, parseType, type Type } from "../../policy/cel/index.ts";
import { cpuSince, median } from "./measures.ts";

/**
 * One condition, evaluated over and over: our engine, @bufbuild/cel and @marcbachmann/cel-js, each with its own form of
 * the same 2,000 inputs, in turns within one run; the same condition written in JavaScript beside them, which is what
 * there is to reach. Prints nanoseconds of CPU for each evaluation and the ratios; every answer is compared before
 * anything is timed, and counted while it is. Each engine is used the best way that its interface allows: ours with a
 * reader for each variable and field, cel-js with declared types and fields, bufbuild's with bindings made ready before
 * the clock starts. Each goes over the inputs in a loop of its own, so that no figure holds a call that is not its own.
 */

const INPUTS = 2_000;
const ROUNDS = 15;

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

interface Condition {
  readonly name: string;
  readonly source: string;
  readonly plain: (input: Input) => boolean;
}

const CONDITIONS: readonly Condition[] = [
  {
    name: "four terms",
    source:
      'subject.tenant == "t7" && request.method == "POST" && request.path.startsWith("/v1/") && ' +
      '(subject.region in ["EU", "UK"] || "admin" in subject.roles)',
    plain: ({ subject, request }) =>
      subject.get("tenant") === "t7" &&
      request.method === "POST" &&
      request.path.startsWith("/v1/") &&
      (["EU", "UK"].includes(String(subject.get("region"))) || rolesOf(subject).includes("admin")),
  },
  { name: "equality", source: 'request.method == "POST"', plain: ({ request }) => request.method === "POST" },
  {
    name: "membership",
    source: 'subject.region in ["EU", "UK", "CH"]',
    plain: ({ subject }) => ["EU", "UK", "CH"].includes(String(subject.get("region"))),
  },
  {
    name: "loop",
    source: 'subject.roles.exists(r, r.startsWith("adm"))',
    plain: ({ subject }) => rolesOf(subject).some((role) => role.startsWith("adm")),
  },
  {
    name: "pattern",
    source: 'request.path.matches("^/v1/[a-z]+/[0-9]+$")',
    plain: ({ request }) => /^\/v1\/[a-z]+\/[0-9]+$/.test(request.path),
  },
];

function rolesOf(subject: ReadonlyMap<string, unknown>): readonly string[] {
  const roles = subject.get("roles");
  return Array.isArray(roles) ? roles : [];
}

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

interface Engine {
  readonly name: string;
  /** Whether the condition is true of an input: for the comparison before the clock starts. */
  readonly holds: (index: number) => boolean;
  /** Goes over all inputs once and says of how many it is true. */
  readonly count: () => number;
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
  return {
    name: "ours",
    passes: 60,
    holds: (index) => program.evaluate(inputs[index]) === true,
    count: () => {
      let found = 0;
      for (let index = 0; index < INPUTS; index += 1) if (program.evaluate(inputs[index]) === true) found += 1;
      return found;
    },
  };
}

function celJs(source: string, inputs: readonly Input[]): Engine {
  const run = new CelJs()
    .registerType("Request", { ctor: RequestRecord, fields: { method: "string", path: "string" } })
    .registerVariable("request", "Request")
    .registerVariable("subject", "map<string, dyn>")
    .parse(source);
  return {
    name: "@marcbachmann/cel-js",
    passes: 12,
    holds: (index) => run(inputs[index]) === true,
    count: () => {
      let found = 0;
      for (let index = 0; index < INPUTS; index += 1) if (run(inputs[index]) === true) found += 1;
      return found;
    },
  };
}

function bufbuild(source: string, inputs: readonly Input[]): Engine {
  const dynamic = mapType(CelScalar.STRING, CelScalar.DYN);
  const run = plan(celEnv({ variables: { request: dynamic, subject: dynamic } }), peerParse(source));
  const bindings = inputs.map(({ request, subject }) => ({
    request: new Map(Object.entries(request)),
    subject: new Map([...subject].map(([key, value]) => [key, value as string])),
  }));
  const holds = (index: number) => {
    const bound = bindings[index];
    return bound !== undefined && run(bound) === true;
  };
  return {
    name: "@bufbuild/cel",
    passes: 2,
    holds,
    count: () => {
      let found = 0;
      for (let index = 0; index < INPUTS; index += 1) if (holds(index)) found += 1;
      return found;
    },
  };
}

function plainJavaScript(plain: Condition["plain"], inputs: readonly Input[]): Engine {
  const holds = (index: number) => {
    const input = inputs[index];
    return input !== undefined && plain(input);
  };
  return {
    name: "plain JavaScript",
    passes: 60,
    holds,
    count: () => {
      let found = 0;
      for (let index = 0; index < INPUTS; index += 1) if (holds(index)) found += 1;
      return found;
    },
  };
}

/** CPU nanoseconds of one evaluation in one round. */
function measure({ count, passes }: Engine, wanted: number): number {
  const start = process.cpuUsage();
  let answered = 0;
  for (let pass = 0; pass < passes; pass += 1) answered += count();
  const cpu = cpuSince(start);
  if (answered !== wanted * passes) throw new Error(`${answered} true answers, not ${wanted * passes}`);
  return (cpu * 1000) / (passes * INPUTS);
}

const inputs = Array.from({ length: INPUTS }, (_, index) => inputAt(index));

for (const { name, source, plain } of CONDITIONS) {
  const engines = [
    ours(source, inputs),
    celJs(source, inputs),
    bufbuild(source, inputs),
    plainJavaScript(plain, inputs),
  ];
  let wanted = 0;
  for (let index = 0; index < INPUTS; index += 1) {
    const answers = engines.map(({ holds }) => holds(index));
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
  const base = rounds[0] ?? [];
  process.stdout.write(`${name}: ${source}\n  ${wanted} of ${INPUTS} are true\n`);
  for (const [at, { name: engine }] of engines.entries()) {
    const figures = rounds[at] ?? [];
    const raw = figures.map((figure) => figure.toFixed(0)).join(" ");
    // Of figures of one round: what else the machine does falls on all of them.
    const ratio = median(figures.map((figure, round) => figure / (base[round] ?? Number.NaN)));
    process.stdout.write(
      `  ${engine.padEnd(22)} ${median(figures).toFixed(0)} ns, ${ratio.toFixed(1)}× (rounds: ${raw})\n`,
    );
  }
}
