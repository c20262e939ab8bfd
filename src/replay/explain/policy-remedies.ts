import { policyEnv, type DecideInput } from "../../decision/decide.ts";
import type { BundledPolicy } from "../../policy/bundle.ts";
import type { ApplicationPack } from "../../policy/load.ts";
import { atomsOf, type Atom } from "./atoms.ts";
import { answerOf, blindly, isHidden } from "./blind.ts";
import { acceptedIdentities, approvedBy, attested, doneBefore, later, newRun } from "./circumstances.ts";
import type { Fact } from "./fact.ts";
import { distinct, flipsOf, repairsOf, type Asking } from "./flips.ts";
import { packsOf, type Mending, type Remedies } from "./remedy.ts";

/** Either every forbid that stands has to fall, or some permit has to hold. */
export function policyRemedies(mending: Mending): Remedies {
  const { input, outcome } = mending;
  const named = new Set(outcome.determining.map(({ policy }) => policy));
  const found: Fact[] = [];
  let hidden = false;
  for (const pack of packsOf(input)) {
    const asking = askingOf(mending, pack);
    const read = blindly(pack, input.request, asking.env);
    if ("misfit" in read) return repairsOf(asking, pack.written.flatMap(atomsOf), read.misfit);
    const forbids = pack.written.filter(({ id, json }) => json.effect === "forbid" && named.has(`${pack.name}/${id}`));
    const steps_up = forbids.every(({ id }) => pack.facts.get(id)!.step_up !== null);
    const [hard] = forbids.filter(({ id }) => pack.facts.get(id)!.step_up === null);
    let policies: readonly BundledPolicy[];
    if (hard !== undefined) policies = [hard];
    else if (forbids.length > 0 && outcome.core.reason === "approval_required") policies = forbids.slice(0, 1);
    else policies = pack.written.filter(({ json }) => json.effect === "permit");
    hidden ||= policies.some((policy) => looksBehind(pack, input, policy));
    const facts = policies.flatMap((policy) => factsFor(mending, asking, atomsOf(policy)));
    if (outcome.core.reason === "approval_required" && steps_up && forbids.length > 0)
      facts.push(...approvalsFor(mending));
    // This one has to fall whatever else changes.
    if (hard !== undefined && facts.length === 0) return hidden ? "hidden" : "not_found";
    found.push(...facts);
  }
  if (hidden) mending.seen.hidden = true;
  return found.length > 0 ? distinct(found) : hidden ? "hidden" : "not_found";
}

/** A head that names a group, or a condition on what only the directory knows. */
const looksBehind = (pack: ApplicationPack, { request }: DecideInput, policy: BundledPolicy): boolean =>
  policy.json.principal.in !== undefined ||
  policy.json.principal.op === "in" ||
  policy.json.resource.in !== undefined ||
  policy.json.resource.op === "in" ||
  atomsOf(policy).some((atom) => isHidden(pack, request, atom));

const askingOf = ({ base, input, bearing, outcome, spend, seen, memo }: Mending, pack: ApplicationPack): Asking => ({
  pack,
  base: base.request,
  request: input.request,
  env: policyEnv(input, input.run!, bearing, outcome.degraded),
  spend,
  drop: () => {
    seen.dropped = true;
  },
  memo,
});

function approvalsFor({ base, input, bearing }: Mending): Fact[] {
  if (bearing.rules.approval === null) return [];
  if (input.run?.step === undefined) return [newRun(base, null, bearing)];
  const before = base.run?.step?.approvals.length ?? 0;
  const now = input.run.step.approvals.length;
  return now - before < MAX_APPROVALS ? [approvedBy(now + 1, before)] : [];
}

const MAX_APPROVALS = 3;

/** What would turn a condition of these: in the request, or around it. */
function factsFor(mending: Mending, asking: Asking, atoms: readonly Atom[]): Fact[] {
  const { base, input, bearing } = mending;
  const facts = flipsOf(asking, atoms);
  for (const atom of atoms) {
    for (const [variable, section, name, ...rest] of atom.reads) {
      if (variable !== "context" || section !== "interlock") continue;
      if (name === "now" || name === "t_ms") facts.push(...timesFor(mending, asking, atom));
      else if (name === "approvals") facts.push(...approvalsFor(mending));
      else if (name === "history" && rest[0] !== undefined) {
        const full = `${asking.pack.name}/${rest[0]}`;
        if (input.run?.step === undefined) facts.push(newRun(base, null, bearing));
        else {
          const count = input.run.step.history.find((fact) => fact.name === full)?.count ?? 0;
          facts.push(doneBefore(full, rest[0], base.run?.step?.history.find((f) => f.name === full)?.count ?? count));
          const last_ms = base.run?.step?.history.find((fact) => fact.name === full)?.last_ms ?? null;
          const within_ms = bearing.rules.history.find((rule) => rule.name === full)?.within_ms ?? null;
          if (last_ms !== null && within_ms !== null) facts.push(later(base, bearing, last_ms + within_ms + 1));
        }
      } else if (name === "run" && input.run?.kind === "implicit") facts.push(newRun(base, null, bearing));
      else if (name === "attestation")
        facts.push(...(["affirming", "warning"] as const).map((tier) => attested(base, tier, true)));
      else if (name === "identity") {
        const kinds = ["wit", "jwt-svid", "service-account", "access-token"] as const;
        const accept = bearing.rules.identity?.accept ?? kinds;
        facts.push(...acceptedIdentities(base, { accept, allow_bearer: bearing.rules.identity?.allow_bearer ?? true }));
      }
    }
  }
  return distinct(facts);
}

const PROBE_MS = 300_000;
const DAY_MS = 86_400_000;

/** The first moment at which a condition on the time answers otherwise: within a day to the millisecond, then by date. */
function timesFor({ base, bearing, input }: Mending, asking: Asking, { test }: Atom): Fact[] {
  const answer = (t_ms: number): boolean | null => {
    return asking.spend() ? answerOf(test, blindly(asking.pack, asking.request, { ...asking.env, t_ms })) : null;
  };
  const now = answer(input.t_ms);
  if (now === null) return [];
  let near = input.t_ms;
  for (let ahead = PROBE_MS; ahead <= 512 * DAY_MS; ahead += ahead < DAY_MS ? PROBE_MS : ahead) {
    let far = input.t_ms + ahead;
    if (answer(far) === now) {
      near = far;
      continue;
    }
    while (far - near > 1) {
      const middle = Math.floor((near + far) / 2);
      if (answer(middle) === now) near = middle;
      else far = middle;
    }
    return [later(base, bearing, far)];
  }
  return [];
}
