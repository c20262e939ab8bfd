import { approvalKeys } from "../runs/approvals.ts";
import { chainKeys } from "../runs/delegation.ts";
import {
  credentialKey,
  entityForm,
  issuerKey,
  keyKey,
  pepKey,
  permitKey,
  regionKey,
  resourceKey,
  runKey,
  subjectKey,
} from "../trust/keys.ts";
import type { Approval, Delegation, StepState } from "../vocabulary/run.ts";
import type { AttestationRule } from "../vocabulary/rules.ts";
import type { CanonicalRequest, Facts, RunState, TrustView } from "../vocabulary/types.ts";
import { attestedUntil } from "./identity.ts";

/** What a decision rests on: keys that can be revoked, regions that have to be heard, and times that end. */

/** What every call rests on, whatever it asks: who asks, by which credential, who signed it, and the region itself. */
export const callerKeys = (
  { pep, thumbprints }: Pick<Facts, "pep" | "thumbprints">,
  region: string,
): readonly string[] => [
  pepKey(region, pep.id),
  credentialKey(pep.issuer, pep.credential),
  issuerKey(pep.issuer),
  ...thumbprints.map(keyKey),
  regionKey(region),
];

/**
 * Everything whose revocation must turn this decision to deny, also between decision and release: canonical keys, and
 * of a guest step the pseudonyms of what its parents at home rest on. Each once. `consents`: keys that the packs name;
 * `chain` and `approvals` are those that count.
 */
export function dependenciesOf(
  request: CanonicalRequest,
  facts: Facts,
  run: (Pick<RunState, "kind" | "id"> & { readonly step?: Pick<StepState, "principal"> | undefined }) | null,
  region: string,
  consents: readonly string[],
  chain: readonly Delegation[] = [],
  approvals: readonly Approval[] = [],
): string[] {
  const { subject, resource } = request;
  const keys = [
    subjectKey(subject.type, subject.id),
    resourceKey(resource.type, resource.id),
    ...callerKeys(facts, region),
    ...consents,
  ];
  const { workload, pass } = facts;
  let repeats = false;
  if (run?.kind === "opened") {
    keys.push(runKey(run.id));
    if (run.step !== undefined) repeats = keys.push(`subject:${run.step.principal}`) > 0;
  }
  if (workload !== undefined) {
    repeats = true;
    const { identity, attestation } = workload;
    if (identity !== null) {
      keys.push(...identity.keys);
      // Told, never trusted: looked up under the type of the one who acts, so that they can only deny.
      keys.push(...identity.prior_actors.map((actor) => subjectKey(subject.type, actor)));
    }
    if (attestation !== null) keys.push(...attestation.keys);
  }
  if (pass !== undefined) repeats = keys.push(...pass.keys, ...pass.dependencies) > 0;
  const { redeemed } = facts;
  if (redeemed !== undefined) repeats = keys.push(permitKey(redeemed.permit), ...callerKeys(redeemed, region)) > 0;
  if (chain.length > 0) repeats = keys.push(...chain.flatMap(chainKeysOf)) > 0;
  if (approvals.length > 0) repeats = keys.push(...approvals.flatMap(approvalKeys)) > 0;
  return repeats ? [...new Set(keys)] : keys;
}

const chainKeysOf = (link: Delegation): readonly string[] => chainKeys([link]);

/** Regions beside this one whose word a step needs through the steps and the pass that it uses. */
export function usedHomes(run: RunState | null, { pass }: Facts, region: string): readonly string[] {
  const parents = run?.step?.parents ?? [];
  if (parents.length === 0 && pass === undefined) return [];
  const homes = [
    ...parents.flatMap((parent) => parent.homes),
    ...(pass === undefined ? [] : [pass.home, ...pass.homes]),
  ];
  return [...new Set(homes)].filter((home) => home !== region);
}

/** Regions that have to be heard: homes of the keys, and those that `used` names. A pseudonym names no home. */
export function homesOf(
  trust: Pick<TrustView, "homes">,
  dependencies: readonly string[],
  used: readonly string[],
): readonly string[] {
  const named = dependencies.every(isKey) ? dependencies : dependencies.filter(isKey);
  const homes = trust.homes(named);
  return used.every((home) => homes.includes(home)) ? homes : [...new Set([...homes, ...used])].sort();
}

/** A canonical key has a colon, and a pseudonym none. */
const isKey = (text: string): boolean => text.includes(":");

/** Until when what is known of these regions is fresh: this region's lease, and what is left of each home's. */
export function freshUntil(trust: TrustView, homes: readonly string[]): number {
  return homes.reduce(
    (until, home) => Math.min(until, trust.origins.get(home)?.fresh_until_ms ?? 0),
    trust.lease_until_ms,
  );
}

/** The earliest end of what was shown: credentials, the attestation, delegations, approvals, the pass. */
export function endsAt(
  { pep, workload, pass, redeemed }: Facts,
  attestation: AttestationRule | null,
  chain: readonly Delegation[],
  approvals: readonly Approval[],
): number {
  let end = pep.exp_ms;
  const until = (t_ms: number): void => {
    if (t_ms < end) end = t_ms;
  };
  if (workload !== undefined) {
    if (workload.identity !== null) until(workload.identity.valid_until_ms);
    if (workload.attestation !== null) until(attestedUntil(workload.attestation, attestation));
  }
  if (pass !== undefined) until(pass.expires_ms);
  if (redeemed !== undefined) until(redeemed.pep.exp_ms);
  for (const { expires_ms } of chain) until(expires_ms);
  for (const { expires_ms } of approvals) until(expires_ms);
  return end;
}

export const subjectForm = ({ subject }: CanonicalRequest): string => entityForm(subject.type, subject.id);
