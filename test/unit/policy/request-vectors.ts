import * as cedar from "@cedar-policy/cedar-wasm/nodejs";
import type { JsonObject, JsonValue } from "../../../src/base/json.ts";
import { buildEntityStore, type EntityJson } from "../../../src/cedar/index.ts";
import type { CanonicalRequest } from "../../../src/vocabulary/types.ts";
import { covers, mapRequest, packTypes, type Searched } from "../../../src/policy/cedar-request.ts";
import { interlockContext, NOTHING_KNOWN, type PolicyEnv } from "../../../src/policy/interlock-context.ts";
import type { ApplicationManifest } from "../../../src/policy/manifest.ts";
import { readSchema } from "../../../src/policy/schema.ts";
import { requestJson, storedJson } from "../../support/cedar-json.ts";

/** The pack under which the vectors of `docs/vectors/request-to-cedar.json` are mapped. */
export type VectorPack = {
  readonly manifest: Pick<ApplicationManifest, "name" | "subjects" | "resources" | "actions">;
  readonly schema: readonly string[];
  readonly entities: readonly EntityJson[];
};

export type Vector = {
  readonly name: string;
  readonly request: Omit<CanonicalRequest, "v">;
  readonly env?: Partial<PolicyEnv>;
  readonly searched?: Searched;
};

const VECTOR_ENV: PolicyEnv = {
  region: "eu",
  t_ms: 1_768_478_400_000,
  pep: "gateway",
  run: { id: "", kind: "implicit", version: 0 },
  ...NOTHING_KNOWN,
};

/** What a vector's request becomes: the Cedar request and both entities, or why it becomes nothing. */
export function runVector(pack: VectorPack, { request, env, searched }: Vector): JsonValue {
  const schema = cedar.schemaToJsonWithResolvedTypes(pack.schema.join("\n"));
  if (schema.type === "failure") throw new Error(schema.errors[0]!.message);
  const types = packTypes(pack.manifest as ApplicationManifest, readSchema(schema.json as unknown as JsonObject));
  const directory = buildEntityStore(pack.entities);
  if (!directory.ok) throw new Error(directory.error);
  const canonical: CanonicalRequest = { v: 1, ...request };
  if (!covers(types, canonical)) return { denied: "not_covered" };
  const context = interlockContext({ ...VECTOR_ENV, ...env }, canonical);
  const call = mapRequest(types, directory.value, canonical, context, searched ?? null);
  if ("kind" in call) return { [call.kind]: call.reason };
  const { principal, resource } = call.request;
  return JSON.parse(
    JSON.stringify({
      ...requestJson(call.request),
      entities: [storedJson(call.store, principal), storedJson(call.store, resource)],
    }),
  ) as JsonValue;
}
