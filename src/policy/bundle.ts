import type { JsonObject } from "../base/json.ts";
import { digestOf } from "../base/digest.ts";
import { jcs } from "../base/jcs.ts";
import type { EntityJson, PolicyJson } from "../cedar/index.ts";
import type { Manifest } from "./manifest.ts";
import type { RuleLines } from "./rule-lines.ts";

/** One policy with where it was written, so that a decision can be followed back to its line. */
export type BundledPolicy = {
  readonly id: string;
  readonly json: PolicyJson;
  /** Relative to the policies folder, e.g. `treasury/policies.cedar`. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
};

/** Why a pack does not load. `line` and `column` count from 1; 0 where the whole file is meant. */
export type PackProblem = {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly message: string;
};

type PackContent = {
  readonly manifest: Manifest;
  /** Where its rules stand; absent in packs of builds before that was kept. */
  readonly rule_lines?: RuleLines;
  readonly policies: readonly BundledPolicy[];
  readonly schema: { readonly text: string; readonly json: JsonObject };
  /** The pack's entities in Cedar's explicit JSON form, and the schema's actions with their groups. */
  readonly entities: readonly EntityJson[];
};

type PackSeal = {
  readonly name: string;
  /** Digest text over the JCS of the content; of an invalid pack over its name and errors. */
  readonly digest: string;
  readonly validated_by: { readonly cedar_wasm: string };
};

/** A pack as built: valid with its content, or invalid with the reasons and nothing that could be evaluated. */
export type BundledPack =
  | (PackSeal & PackContent & { readonly status: "valid" })
  | (PackSeal & {
      readonly status: "invalid";
      /** As its manifest says; `null` where that cannot be read. */
      readonly layer: "sovereign" | "application" | null;
      readonly errors: readonly PackProblem[];
    });

export type ValidPack = Extract<BundledPack, { status: "valid" }>;

/** `policies/bundle.json`: everything a region needs to decide, built and validated ahead of time. Packs by name. */
export type Bundle = { readonly v: 1; readonly packs: readonly BundledPack[] };

/** Digest text over what a pack decides by, and where that is written. Who validated it is not part of that. */
export const packDigest = ({ manifest, rule_lines, policies, schema, entities }: PackContent): string =>
  digestOf(jcs({ manifest, rule_lines, policies, schema, entities }));

export const describeProblem = ({ file, line, column, message }: PackProblem): string =>
  line === 0 ? `${file}: ${message}` : `${file}:${line}:${column}: ${message}`;
