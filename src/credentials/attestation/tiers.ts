import type { JsonValue } from "../../base/json.ts";

/** Trustworthiness tiers (draft-ietf-rats-ar4si at b26354e, section 3.2). */
export type Tier = "none" | "affirming" | "warning" | "contraindicated";

/** CBOR's numbers for them, which Veraison also writes in JSON, as numbers or as texts. */
const BY_NUMBER: Readonly<Record<string, Tier>> = { 0: "none", 2: "affirming", 32: "warning", 96: "contraindicated" };
const NAMES: readonly Tier[] = ["affirming", "warning", "none", "contraindicated"];

/**
 * From best to worst *for a decision*. `none` says nothing, so nothing may rest on it: it is worse than a warning, of
 * which something is known, although its number is lower.
 */
const severity = (tier: Tier): number => NAMES.indexOf(tier);

export const worse = (a: Tier, b: Tier): Tier => (severity(b) > severity(a) ? b : a);
export const isBetter = (a: Tier, b: Tier): boolean => severity(a) < severity(b);

/** `ear_status`; with `numbers`, also as the number or its text. `null`: no tier. */
export function readTier(value: JsonValue | undefined, numbers: boolean): Tier | null {
  const name = NAMES.find((tier) => tier === value);
  if (name !== undefined) return name;
  if (!numbers || (typeof value !== "number" && typeof value !== "string")) return null;
  return Object.hasOwn(BY_NUMBER, value) ? BY_NUMBER[value]! : null;
}

/**
 * The tier of one claim's value, an int8 (AR4SI section 2.3.2). `null`: not one. 0 is the same as no claim at all, and
 * gives no tier either: `absent`.
 */
export function tierOfClaim(value: JsonValue): Tier | "absent" | null {
  if (typeof value !== "number" || !Number.isInteger(value) || value < -128 || value > 127) return null;
  if (value === 0) return "absent";
  if (value === 1 || value === -1) return "none";
  if (value >= 96 || value <= -97) return "contraindicated";
  return value >= 32 || value <= -33 ? "warning" : "affirming";
}

/** Claims of a trustworthiness vector. */
export const CLAIMS = [
  "instance-identity",
  "configuration",
  "executables",
  "file-system",
  "hardware",
  "runtime-opaque",
  "storage-opaque",
  "sourced-data",
] as const;

export type Claim = (typeof CLAIMS)[number];
