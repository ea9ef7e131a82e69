import { checkApprovedIdentities } from "./approval-checks.ts";
import type { AnyAuthored } from "./authored.ts";
import type { Application, Inventory, Key } from "./inventory.ts";
import type { ProblemList } from "./problems.ts";
import { checkRerouteCycles } from "./reroute-cycles.ts";
import { checkSplits } from "./split-checks.ts";
import { TreePlaces } from "./tree-places.ts";
import type { Path } from "./yaml-document.ts";

/** What must hold between objects that are right by themselves. */
export function checkTree(
  inventory: Inventory,
  objects: ReadonlyMap<string, AnyAuthored>,
  problems: ProblemList,
): void {
  const tree = new TreePlaces(objects, problems);
  checkAnonymous(inventory, tree);
  checkApiKeys(inventory, tree);
  checkJwt(inventory, tree);
  checkModelNames(inventory, tree);
  checkVersions(inventory, tree);
  checkApprovedIdentities(inventory, tree);
  checkRerouteCycles(inventory, tree);
  checkSplits(inventory, tree);
}

function checkAnonymous(inventory: Inventory, tree: TreePlaces): void {
  const [first, ...others] = inventory.applications.filter(({ anonymous }) => anonymous);
  if (first === undefined) return;
  const place = tree.place("Application", first, ["spec", "anonymous"]);
  for (const other of others) {
    const message = `"${first.key}" is the anonymous application already (${place})`;
    tree.conflict("Application", other, ["spec", "anonymous"], message, "at most one in a tree may be");
  }
}

function checkApiKeys(inventory: Inventory, tree: TreePlaces): void {
  const seen = new Map<string, { readonly application: Application; readonly at: Path }>();
  for (const application of inventory.applications) {
    for (const [index, { sha256 }] of application.apiKeys.entries()) {
      const at = ["spec", "apiKeys", index, "sha256"];
      const other = seen.get(sha256);
      if (other === undefined) seen.set(sha256, { application, at });
      else {
        const place = tree.place("Application", other.application, other.at);
        const message = `the same key as in application "${other.application.key}" (${place})`;
        tree.conflict("Application", application, at, message, "a key belongs to one application: make a new one");
      }
    }
  }
}

function checkJwt(inventory: Inventory, tree: TreePlaces): void {
  const issuers = new Map<string, { readonly application: Application; readonly jwks: string; readonly at: Path }>();
  const identities = new Map<string, Key>();
  for (const application of inventory.applications) {
    for (const [index, { issuer, jwks, audiences, claims }] of application.jwt.entries()) {
      const at: Path = ["spec", "jwt", index];
      const known = issuers.get(issuer);
      if (known === undefined) issuers.set(issuer, { application, jwks: JSON.stringify(jwks), at: [...at, "jwks"] });
      else if (known.jwks !== JSON.stringify(jwks)) {
        const place = tree.place("Application", known.application, known.at);
        const message = `issuer "${issuer}" has another jwks in application "${known.application.key}" (${place})`;
        tree.conflict("Application", application, [...at, "jwks"], message, "an issuer has one set of keys in a tree");
      }
      const identity = JSON.stringify([issuer, [...audiences].sort(), Object.entries(claims).sort()]);
      const owner = identities.get(identity);
      if (owner !== undefined && owner !== application.key) {
        const message = `application "${owner}" asks for the same issuer, audiences and claims`;
        tree.conflict(
          "Application",
          application,
          at,
          message,
          "a token must belong to one application: ask for different claims",
        );
      } else identities.set(identity, application.key);
    }
  }
}

function checkModelNames(inventory: Inventory, tree: TreePlaces): void {
  const seen = new Map<string, { readonly key: Key; readonly place: string }>();
  for (const model of inventory.models) {
    for (const [index, name] of model.names.entries()) {
      const at = ["spec", "names", index];
      const scoped = `${model.scope} ${name}`;
      const other = seen.get(scoped);
      if (other === undefined) seen.set(scoped, { key: model.key, place: tree.place("Model", model, at) });
      else {
        const message = `Model "${other.key}" of this scope has the name "${name}" too (${other.place})`;
        tree.conflict("Model", model, at, message, "a name stands for one model in a scope");
      }
    }
  }
}

function checkVersions(inventory: Inventory, tree: TreePlaces): void {
  const seen = new Map<string, { readonly key: Key; readonly place: string }>();
  for (const version of inventory.modelVersions) {
    const at = ["spec", "version"];
    const name = `${version.model}@${version.version}`;
    const other = seen.get(name);
    if (other === undefined) seen.set(name, { key: version.key, place: tree.place("ModelVersion", version, at) });
    else {
      const message = `ModelVersion "${other.key}" is version "${version.version}" of Model "${version.model}" too (${other.place})`;
      tree.conflict("ModelVersion", version, at, message, "a version is told apart by its name");
    }
  }
}
