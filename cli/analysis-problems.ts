import { gatewayOfGroup, lawRuleId } from "../compiler/index.ts";
import { analyseProgram, type DecisionInput, type Finding } from "../policy/index.ts";
import type { Inventory, Key, Kind, LawPack, Path, PolicyTestRequest, Problem } from "../resources/index.ts";
import type { CompiledTree } from "./compile-directory.ts";
import { generatedRequests } from "./diff-samples.ts";
import { casePreparer } from "./policy-cases.ts";

/** On an object: codes of findings that are meant, separated by commas. */
const ACCEPTED_FINDINGS = "chancery.dev/accepted-findings";

const NO_REDUCED_PLAN: Finding["code"] = "no-reduced-plan";

export interface AnalysisSettings {
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly withinMs: number;
  readonly scoreAgeMs?: number;
  readonly minReady?: number;
  /** Told where the tree is too large to look at all of it. */
  readonly onNote?: (note: string) => void;
}

/** What is doubtful in a compiled tree without errors, as warnings at their places. */
export function analysisProblems(directory: CompiledTree, settings: AnalysisSettings): readonly Problem[] {
  const { loaded, compiled } = directory;
  const findings = analyseProgram(compiled.parts.program, {
    ...settings,
    laws: loaded.inventory.lawPacks.map(({ key, rules }) => ({
      key,
      unreviewed: rules.filter(({ mode, review }) => mode === "enforce" && review !== "reviewed").map(({ id }) => id),
    })),
    asked: askedBy(directory, settings.now),
  });
  const places = placesIn(loaded.inventory);
  const ofRules = findings.flatMap((finding): Problem[] => {
    const place = places.get(`${finding.about.kind} ${finding.about.key}`);
    if (place === undefined || place.accepted.includes(finding.code)) return [];
    const { code, message, hint } = finding;
    const at = loaded.positions.locate(place.kind, place.key, place.path) ?? { file: place.key, line: 1, column: 1 };
    const said = `${finding.about.kind} "${finding.about.key}": ${message}`;
    return [
      { severity: "warning", code, message: said, ...(hint === undefined ? {} : { hint }), scope: place.scope, at },
    ];
  });
  return [...ofRules, ...withheldPlans(directory)];
}

/** Gateways whose Envoys before 1.40 are given nothing that is governed, since their tables would be too long. */
function withheldPlans({ loaded, compiled }: CompiledTree): readonly Problem[] {
  const why = new Map(
    compiled.parts.nodeGroups.flatMap(({ name, withheld }) =>
      withheld === undefined ? [] : [[gatewayOfGroup(name), withheld] as const],
    ),
  );
  return loaded.inventory.gateways.flatMap(({ key, scope, annotations }): Problem[] => {
    const withheld = why.get(key);
    if (withheld === undefined || acceptedIn(annotations).includes(NO_REDUCED_PLAN)) return [];
    return [
      {
        severity: "warning",
        code: NO_REDUCED_PLAN,
        message: `Gateway "${key}": Envoys before 1.40 are given nothing that is governed: ${withheld}`,
        hint: "spread hosts over several gateways, or run Envoy 1.40 or later",
        scope,
        at: loaded.positions.locate("Gateway", key, ["metadata", "name"]) ?? { file: key, line: 1, column: 1 },
      },
    ];
  });
}

function acceptedIn(annotations: Readonly<Record<string, string>>): readonly string[] {
  return (annotations[ACCEPTED_FINDINGS] ?? "").split(",").map((code) => code.trim());
}

/** Each application, by each of its keys, on every route with every model; made as they are asked for. */
function askedBy(directory: CompiledTree, nowMs: number): readonly Iterable<DecisionInput>[] {
  const { inventory } = directory.loaded;
  const { prepare } = casePreparer(directory);
  const now = new Date(nowMs).toISOString();
  const requests = generatedRequests(inventory).filter(({ model }) => model !== undefined);
  return inventory.applications.map(({ key: application, apiKeys }) => ({
    *[Symbol.iterator]() {
      for (const request of requests) {
        for (const subject of subjectsOf(request, apiKeys)) {
          const prepared = prepare({ now, draw: 0, request: { ...request, application, subject } });
          if (prepared.ok && prepared.asked.kind === "decision") yield prepared.asked.input;
        }
      }
    },
  }));
}

function subjectsOf(
  { subject }: Pick<PolicyTestRequest, "subject">,
  apiKeys: readonly { readonly id: string }[],
): readonly PolicyTestRequest["subject"][] {
  return apiKeys.length === 0 ? [subject] : apiKeys.map(({ id }) => ({ ...subject, kind: "apiKey", id }));
}

interface Place {
  readonly kind: Kind;
  readonly key: Key;
  readonly scope: string;
  readonly path: Path;
  readonly accepted: readonly string[];
}

function placesIn(inventory: Inventory): ReadonlyMap<`${Finding["about"]["kind"]} ${Key}`, Place> {
  const places = new Map<`${Finding["about"]["kind"]} ${Key}`, Place>();
  const objects = [
    ["Application", inventory.applications],
    ["Approval", inventory.approvals],
    ["ApprovalRule", inventory.approvalRules],
    ["ModelVersion", inventory.modelVersions],
    ["Deployment", inventory.deployments],
    ["Model", inventory.models],
    ["LawPack", inventory.lawPacks],
    ["Upstream", inventory.upstreams],
  ] as const;
  for (const [kind, members] of objects) {
    for (const { key, scope, annotations } of members) {
      places.set(`${kind} ${key}`, { kind, key, scope, path: ["metadata", "name"], accepted: acceptedIn(annotations) });
    }
  }
  const place = (
    kind: Kind,
    { key, scope, annotations }: Inventory["policies"][number] | LawPack,
    index: number,
  ): Place => {
    return { kind, key, scope, path: ["spec", "rules", index, "id"], accepted: acceptedIn(annotations) };
  };
  for (const policy of inventory.policies) {
    for (const [index, { id }] of policy.rules.entries()) {
      places.set(`rule ${policy.key}/${id}`, place("Policy", policy, index));
    }
  }
  for (const pack of inventory.lawPacks) {
    for (const [index, { id }] of pack.rules.entries()) {
      places.set(`rule ${lawRuleId(pack.key, id)}`, place("LawPack", pack, index));
    }
  }
  return places;
}
