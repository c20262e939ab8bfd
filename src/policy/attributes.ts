import type { JsonValue } from "../base/json.ts";
import { CedarSet, EntityRef } from "../cedar/index.ts";
import type { CanonicalRequest } from "../vocabulary/types.ts";
import type { Searched } from "./cedar-request.ts";
import type { ApplicationPack } from "./load.ts";

type Side = "subject" | "resource";

/**
 * Text of an attribute of one side of a covered request, from where the pack says that its attributes come. `null`
 * where the entity is not in the directory, or has something else there: then the pack denies by itself.
 */
export function textAttribute(
  pack: ApplicationPack,
  request: CanonicalRequest,
  side: Side,
  name: string,
  searched: Searched,
): string | null {
  const value = attribute(pack, request, side, name, searched);
  return typeof value === "string" ? value : null;
}

/** As `textAttribute`, of a set of texts; sorted, each once. */
export function textsAttribute(
  pack: ApplicationPack,
  request: CanonicalRequest,
  side: Side,
  name: string,
  searched: Searched,
): readonly string[] | null {
  const value = attribute(pack, request, side, name, searched);
  const members: readonly unknown[] | null =
    value instanceof CedarSet ? value.members : Array.isArray(value) ? (value as readonly JsonValue[]) : null;
  if (members === null || !members.every((member) => typeof member === "string")) return null;
  return [...new Set(members)].sort();
}

function attribute(pack: ApplicationPack, request: CanonicalRequest, side: Side, name: string, searched: Searched) {
  const entity = request[side];
  const rule = (side === "subject" ? pack.types.subjects : pack.types.resources).get(entity.type)!;
  if (rule.attributes === "pack" || searched === side) {
    return pack.directory.get(new EntityRef(rule.type, entity.id).key)?.attributes.attributes.get(name);
  }
  return entity.properties !== undefined && Object.hasOwn(entity.properties, name)
    ? entity.properties[name]
    : undefined;
}
