import { z } from "zod";
import { Golden } from "../../src/policy/golden-format.ts";
import { Manifest } from "../../src/policy/manifest.ts";

/** JSON schemas for editors, made from what the builder reads with; `docs/schemas/` holds them, and a test compares. */
const FORMATS = {
  golden: { schema: Golden, title: "golden.json of a policy pack" },
  pack: { schema: Manifest, title: "pack.json of a policy pack" },
} as const;

export type SchemaName = keyof typeof FORMATS;
export const SCHEMA_NAMES = Object.keys(FORMATS) as SchemaName[];

export function jsonSchema(name: SchemaName): string {
  const { schema, title } = FORMATS[name];
  const json = z.toJSONSchema(schema, { io: "input" });
  return `${JSON.stringify({ title, ...json }, null, 2)}\n`;
}
