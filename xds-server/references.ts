import { type DescMessage, fromBinary, type Message } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { type Any, AnySchema } from "@bufbuild/protobuf/wkt";
import type { EncodedResource } from "../compiler/index.ts";
import { envoyTypes, TYPE_URLS } from "../envoy/index.ts";
import {
  type Cluster,
  Cluster_DiscoveryType,
  ClusterSchema,
} from "../protos/gen/envoy/config/cluster/v3/cluster_pb.ts";
import {
  type HttpFilter,
  HttpFilterSchema,
  type Rds,
  RdsSchema,
} from "../protos/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";
import {
  type SdsSecretConfig,
  SdsSecretConfigSchema,
} from "../protos/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts";

/** Type URL → names of the resources of that type that a resource tells Envoy to ask for. */
export type References = ReadonlyMap<string, ReadonlySet<string>>;

const NONE: References = new Map();
/** Deeper than anything Envoy accepts; keeps a crafted resource from exhausting the stack. */
const MAX_DEPTH = 64;

const cache = new WeakMap<EncodedResource, References>();

/** The references of a cluster, listener or extension config; parsed once per resource. */
export function referencesOf(resource: EncodedResource): References {
  const known = cache.get(resource);
  if (known !== undefined) return known;
  const found = parse(resource);
  cache.set(resource, found);
  return found;
}

const together = new WeakMap<readonly EncodedResource[], Map<string, ReadonlySet<string>>>();

/** The names of one type that resources refer to. The list is not to change: what was found for it is kept. */
export function namesReferencedBy(resources: readonly EncodedResource[], typeUrl: string): ReadonlySet<string> {
  let byType = together.get(resources);
  if (byType === undefined) {
    byType = new Map();
    together.set(resources, byType);
  }
  const known = byType.get(typeUrl);
  if (known !== undefined) return known;
  const names = new Set<string>();
  for (const resource of resources) for (const name of referencesOf(resource).get(typeUrl) ?? []) names.add(name);
  byType.set(typeUrl, names);
  return names;
}

function parse(resource: EncodedResource): References {
  const schema = envoyTypes.getMessage(resource.typeUrl.slice(resource.typeUrl.lastIndexOf("/") + 1));
  if (schema === undefined) return NONE;
  const found = new Map<string, Set<string>>();
  try {
    walk(schema, fromBinary(schema, resource.value), found, 0);
  } catch {
    // Bytes that do not decode are the node's to refuse; they name nothing that could be sent along.
    return NONE;
  }
  return found.size === 0 ? NONE : found;
}

function walk(schema: DescMessage, message: Message, found: Map<string, Set<string>>, depth: number): void {
  if (depth > MAX_DEPTH) return;
  collect(schema, message, found);
  if (schema.typeName === AnySchema.typeName) {
    const any = message as Any;
    const inner = envoyTypes.getMessage(any.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1));
    if (inner !== undefined) walk(inner, fromBinary(inner, any.value), found, depth + 1);
    return;
  }
  const reflected: ReflectMessage = reflect(schema, message);
  for (const field of reflected.fields) {
    if (!reflected.isSet(field)) continue;
    if (field.fieldKind === "message") {
      walk(field.message, reflected.get(field).message, found, depth + 1);
    } else if (field.fieldKind === "list" && field.listKind === "message") {
      for (const item of reflected.get(field)) walkItem(field.message, item, found, depth + 1);
    } else if (field.fieldKind === "map" && field.mapKind === "message") {
      for (const [, item] of reflected.get(field)) walkItem(field.message, item, found, depth + 1);
    }
  }
}

/** Members of reflected lists and maps are typed as unknown; those of message kind are always reflected messages. */
function walkItem(schema: DescMessage, item: unknown, found: Map<string, Set<string>>, depth: number): void {
  if (typeof item === "object" && item !== null && "message" in item) {
    walk(schema, (item as ReflectMessage).message, found, depth);
  }
}

function collect(schema: DescMessage, message: Message, found: Map<string, Set<string>>): void {
  switch (schema.typeName) {
    case ClusterSchema.typeName: {
      const { clusterDiscoveryType: kind, edsClusterConfig, name } = message as Cluster;
      if (kind.case === "type" && kind.value === Cluster_DiscoveryType.EDS) {
        add(found, TYPE_URLS.endpoint, edsClusterConfig?.serviceName || name);
      }
      return;
    }
    case RdsSchema.typeName:
      add(found, TYPE_URLS.route, (message as Rds).routeConfigName);
      return;
    case HttpFilterSchema.typeName: {
      const { configType, name } = message as HttpFilter;
      if (configType.case === "configDiscovery") add(found, TYPE_URLS.extensionConfig, name);
      return;
    }
    case SdsSecretConfigSchema.typeName: {
      const { sdsConfig, name } = message as SdsSecretConfig;
      // Without a source the name means a secret of the bootstrap.
      if (sdsConfig !== undefined) add(found, TYPE_URLS.secret, name);
      return;
    }
  }
}

function add(found: Map<string, Set<string>>, typeUrl: string, name: string): void {
  const names = found.get(typeUrl);
  if (names === undefined) found.set(typeUrl, new Set([name]));
  else names.add(name);
}
