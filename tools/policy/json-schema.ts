import { z } from "zod";
import { Golden } from "../../src/policy/golden-format.ts";
import { Manifest } from "../../src/policy/manifest.ts";
import { Entities } from "./check-entities.ts";

/** JSON schemas for editors, made from what the builder reads with; `docs/schemas/` holds them, and a test compares. */
const FORMATS = {
  entities: { schema: Entities, title: "entities.json of a policy pack: Cedar entities" },
  golden: { schema: Golden, title: "golden.json of a policy pack" },
  pack: { schema: Manifest, title: "pack.json of a policy pack" },
} as const;

export type SchemaName = keyof typeof FORMATS;
export const SCHEMA_NAMES = Object.keys(FORMATS) as SchemaName[];

export function jsonSchema(name: SchemaName): string {
  const { schema, title } = FORMATS[name];
  const json = z.toJSONSchema(schema, { io: "input" }) as TopLevel;
  return `${JSON.stringify({ title, ...withSchemaMember(json) }, null, 2)}\n`;
}

type TopLevel = { readonly properties?: object; readonly oneOf?: readonly TopLevel[] };

/** A file may name its schema; the builder takes that member away before it reads the rest. */
const withSchemaMember = (json: TopLevel): TopLevel => ({
  ...json,
  ...(json.oneOf === undefined ? {} : { oneOf: json.oneOf.map(withSchemaMember) }),
  ...(json.properties === undefined ? {} : { properties: { $schema: { type: "string" }, ...json.properties } }),
});
