import type { LoadedPolicy } from "../policy/evaluate.ts";
import { subjectKey } from "../trust/keys.ts";
import type { Facts } from "../vocabulary/types.ts";

/**
 * Keys of those whom a credential only tells of: for whom it acts, and who acted before. It says no type, so each is
 * looked up under every one that the packs list: told names can deny and cannot grant.
 */
export function toldKeys({ application }: LoadedPolicy, { workload }: Facts): readonly string[] {
  const identity = workload?.identity ?? null;
  if (identity === null) return [];
  const { on_behalf_of, prior_actors } = identity;
  const names = on_behalf_of === null ? prior_actors : [on_behalf_of, ...prior_actors];
  if (names.length === 0) return [];
  const types = new Set(application.flatMap(({ types: { subjects } }) => [...subjects.keys()]));
  return names.flatMap((name) => [...types].map((type) => subjectKey(type, name)));
}
