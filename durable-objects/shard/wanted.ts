import { missing } from "../../src/decision/checks.ts";
import { dependenciesOf, homesOf, usedHomes } from "../../src/decision/basis.ts";
import { toldKeys } from "../../src/decision/told.ts";
import { consentsOf } from "../../src/policy/consents.ts";
import type { LoadedPolicy } from "../../src/policy/evaluate.ts";
import type { DecideMessage } from "../../src/objects/decide.ts";
import { decodeConsistency } from "../../src/trust/consistency.ts";
import type { CanonicalRequest, Facts, TrustView } from "../../src/vocabulary/types.ts";
import type { Wanted } from "./lease-keeper.ts";

/**
 * What a call needs to hear of other regions before it can be allowed: homes of what it rests on of which nothing
 * fresh is known, and events that its consistency token names and this shard lacks. `null`: nothing.
 */
export function wantedBy(
  message: DecideMessage,
  factsOf: (item: number) => Facts,
  policy: LoadedPolicy,
  trust: TrustView,
  region: string,
  now_ms: number,
): Wanted | null {
  const stale = (home: string): boolean => now_ms >= (trust.origins.get(home)?.fresh_until_ms ?? 0);
  const keys = message.items.flatMap(({ request, run }, at) => {
    const asked = JSON.parse(request) as CanonicalRequest;
    const opened = run === message.implicit_run ? null : ({ kind: "opened", id: run } as const);
    const named = [...consentsOf(policy, asked).keys, ...toldKeys(policy, factsOf(at))];
    return dependenciesOf(asked, factsOf(at), opened, region, named);
  });
  const used = [...new Set(message.items.flatMap((_, at) => usedHomes(null, factsOf(at), region)))];
  const wanted = homesOf(trust, keys, used).filter(stale);
  const token = message.at_least === null ? null : decodeConsistency(message.at_least);
  const need = token !== null && missing(token, region, trust) !== null ? token.events : {};
  return wanted.length === 0 && Object.keys(need).length === 0 ? null : { wanted, need };
}
