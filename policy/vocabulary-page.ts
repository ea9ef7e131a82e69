import { type VocabularyEntry, vocabulary } from "./vocabulary.ts";

/** docs/vocabulary.md: `chancery schema vocabulary --format markdown` prints it, and a test holds the file to it. */

const INTRODUCTION = `# Words of rules

What the expressions of policies can read, with CEL's types. Where Envoy has an attribute its name is the same. This page
is the output of \`chancery schema vocabulary --format markdown\`; \`chancery schema vocabulary\` prints it as JSON.

*Required* words are there for every request. A rule that reads what is missing is *unknown*: a deny rule then denies, a
restrict rule takes the target away, an allow rule does not allow. So \`deny\` and \`restrict\` rules must ask before they
read an optional word, or they do not pass \`chancery check\` (\`optional-field\`):

| Instead of | Write | A missing one |
|---|---|---|
| \`subject.region == "EU"\` | \`has(subject.region) && subject.region == "EU"\` | does not count |
| \`subject.region != "EU"\` | \`!has(subject.region) \\|\\| subject.region != "EU"\` | counts |
| \`subject.claims.role == "admin"\` | \`subject.claims.?role.orValue("") == "admin"\` | is like the value given |
| \`request.headers["x-role"] == "a"\` | \`"x-role" in request.headers && request.headers["x-role"] == "a"\` | does not count |

A key of a map is optional, at each level: \`has(subject.claims.realm) && has(subject.claims.realm.roles) && …\`, or
\`subject.claims.?realm.?roles.orValue([])\`; also where it is computed: \`request.method in request.headers && …\`, or
\`request.headers[?request.method].orValue("")\`. Words of models are there *where a model answers*: a plain upstream has no
\`target.country\`, so a restrict rule that demands one takes plain upstreams away; a rule for more than one Model that reads
\`model.*\` without asking is warned about (\`model-field\`).

A repeated header cannot be read through \`request.headers\`, because it is not known which of its values the upstream
takes: such a rule is unknown. \`request.header_values\` has every value, in order:
\`"x-role" in request.header_values && "admin" in request.header_values["x-role"]\`. Header names are lower case.

Functions are those of CEL and of cel-go's extensions for strings, math, lists, encoders, bindings, optionals and loops with
two variables. One evaluation may cost so much and no more: what a request brings along is read up to 1,000 members a list
and 65,536 characters a text, and a rule that would need more than its work is unknown. A loop inside a loop over such lists
is warned about (\`costly\`); \`in\` looks for a member without one.
`;

const NOT_THERE = `## Envoy's attributes that rules do not have

A decision is made before an upstream is chosen and from what Envoy sends with it (\`CheckRequest\`), which lacks
\`connection.id\`, \`connection.tls_version\`, \`connection.termination_details\`, names and digests of certificates (but for
\`source.principal\`), \`request.duration\`, \`request.total_size\`, \`response.*\`, \`upstream.*\` and \`filter_state\`.
\`request.referer\` and \`request.useragent\` are \`request.headers["referer"]\` and \`request.headers["user-agent"]\`. Of
\`xds.*\` there is what the route's context extensions say; \`xds.cluster_name\` and the like are not known yet.
`;

export function vocabularyPage(): string {
  const groups = Map.groupBy(vocabulary(), ({ path }) => path.split(".", 1)[0] ?? path);
  const tables = [...groups].map(([name, words]) => `## \`${name}\`${noteOn(words)}\n\n${tableOf(words)}`);
  return [INTRODUCTION, ...tables, NOT_THERE].join("\n");
}

function noteOn(words: readonly VocabularyEntry[]): string {
  return words[0]?.readableIn === "every rule" ? "" : ": restrict and prefer rules alone";
}

function tableOf(words: readonly VocabularyEntry[]): string {
  const rows = words.map(
    ({ path, type, presence, description }) => `| \`${path}\` | \`${type}\` | ${WHEN[presence]} | ${description} |`,
  );
  return `${["| Word | Type | There | Meaning |", "|---|---|---|---|", ...rows].join("\n")}\n`;
}

const WHEN: Readonly<Record<VocabularyEntry["presence"], string>> = {
  always: "required",
  sometimes: "optional",
  modelTarget: "where a model answers",
  modelRoute: "where a model is asked for",
};
