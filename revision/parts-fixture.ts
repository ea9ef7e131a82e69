import { createHash } from "node:crypto";
import fc from "fast-check";
import type { EncodedResource, RevisionParts } from "../compiler/index.ts";

/** Test data: small, whole revision parts. Imported by tests only. */
export function exampleParts(reason = "because", endpoint = "127.0.0.1"): RevisionParts {
  return {
    program: {
      rules: [
        {
          id: "team/limits/eu",
          scope: "team",
          target: { kind: "Model", key: "team/chat" },
          effect: "restrict",
          mode: "enforce",
          when: 'subject.region == "EU"',
          require: 'target.country == "DE"',
          reason,
          references: ["GDPR Art. 44"],
        },
      ],
      applications: [],
      models: [
        {
          key: "team/chat",
          scope: "team",
          names: ["chat"],
          source: { type: "body", pointer: "/model" },
          approval: "required",
          labels: { tier: "gold" },
        },
      ],
      targets: [{ pool: "upstream/web", kind: "upstream", upstream: "web", labels: {}, credential: "none" }],
      approvals: [],
      observedGateways: [],
    },
    layouts: [
      {
        hash: "0123456789abcdef0123456789abcdef",
        nodeGroup: "edge",
        routes: [
          {
            id: "web/0/0",
            gateway: "edge",
            httpRoute: "web",
            scope: ".",
            action: "plain",
            groups: [{ name: "upstream/web", clusters: [{ name: "upstream/web", weight: 1 }] }],
            attempts: 1,
            models: [],
            body: false,
          },
        ],
      },
    ],
    nodeGroups: [
      {
        name: "edge",
        layout: "0123456789abcdef0123456789abcdef",
        resources: [resource("type.googleapis.com/x.Cluster", "upstream/web", endpoint), resource("l", "http", "l")],
      },
    ],
    secrets: [{ name: "web-ca", type: "ca", certificateFile: "ca.pem" }],
  };
}

export function resource(typeUrl: string, name: string, content: string): EncodedResource {
  const value = new Uint8Array(Buffer.from(content));
  return { typeUrl, name, version: createHash("sha256").update(value).digest("hex").slice(0, 16), value };
}

/** Parts with one node group of arbitrary resources. */
export function arbitraryParts(): fc.Arbitrary<RevisionParts> {
  const resources = fc.uniqueArray(
    fc.tuple(fc.constantFrom("type/a", "type/b"), fc.string({ maxLength: 8 }), fc.string({ maxLength: 40 })),
    { selector: ([type, name]) => `${type}\n${name}`, maxLength: 6 },
  );
  return (
    fc
      // "__proto__" is no name in resources: they refuse it where it is written.
      .tuple(
        resources,
        fc.string({ unit: "binary", maxLength: 20 }),
        fc.dictionary(
          fc.string().filter((name) => name !== "__proto__"),
          fc.string(),
        ),
      )
      .map(([list, reason, labels]) => {
        const parts = exampleParts(reason);
        return {
          ...parts,
          program: { ...parts.program, models: parts.program.models.map((model) => ({ ...model, labels })) },
          nodeGroups: parts.nodeGroups.map((group) => ({
            ...group,
            resources: list.map(([type, name, content]) => resource(type, name, content)),
          })),
        };
      })
  );
}
