import type { StepRules } from "../vocabulary/rules.ts";
import type { CanonicalRequest } from "../vocabulary/types.ts";
import { runRequirement, type LoadedPolicy } from "./evaluate.ts";

/** What the region's packs demand of a request before they are asked (docs/runs.md). Pure; cheap enough for every step. */
export const rulesFor = (policy: LoadedPolicy, { action }: CanonicalRequest): StepRules => ({
  run: runRequirement(policy, action.name),
  identity: null,
  attestation: null,
  delegation: { required: false, max_depth: 8 },
  budgets: [],
  history: [],
  approval: null,
  pinned: null,
});
