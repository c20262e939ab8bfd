import { CedarRecord, CedarSet, parseDecimal, type Value } from "../cedar/index.ts";
import { Datetime } from "../cedar/extensions/datetime.ts";
import type { Approval, AttestationFacts, HistoryFact, IdentityFacts } from "../vocabulary/run.ts";
import type { CanonicalRequest } from "../vocabulary/types.ts";
import { validApprovals } from "./approval.ts";

/** What surrounds a request, from the kernel: part of every decision, never taken from the caller. */
export type PolicyEnv = {
  readonly region: string;
  /** `t_decide`, Unix milliseconds. */
  readonly t_ms: number;
  readonly pep: string;
  readonly run: { readonly id: string; readonly kind: "implicit" | "opened"; readonly version: number };
  /** Data labels of the run, `<class>` or `<class>:<region>`. */
  readonly labels: readonly string[];
  /** The worst level of what the request rests on. A pack that does not admit `degraded` is never asked about it. */
  readonly trust: "trusted" | "degraded";
  /** What the packs' history entries found in the run, by `<pack>/<name>`; what is not there found nothing. */
  readonly history: readonly HistoryFact[];
  /** `null`: nothing was proven about who acts. */
  readonly identity: IdentityFacts | null;
  readonly attestation: AttestationFacts | null;
  /** Links between the run's principal and the subject; 0: none. */
  readonly delegation_depth: number;
  /** Given in this run; only those whose scope is this very request, and which are not over, count. */
  readonly approvals: readonly Approval[];
};

/** The rest, where nothing more is known than who asks, where and when. */
export const NOTHING_KNOWN = {
  labels: [],
  trust: "trusted",
  history: [],
  identity: null,
  attestation: null,
  delegation_depth: 0,
  approvals: [],
} as const satisfies Partial<PolicyEnv>;

/** `context.interlock` of one request, before a pack's own history entries are put in. */
export type InterlockContext = { readonly members: ReadonlyMap<string, Value>; readonly env: PolicyEnv };

/** What the region itself says about the request, for whichever packs are asked. */
export function interlockContext(env: PolicyEnv, request: CanonicalRequest): InterlockContext {
  const members = new Map<string, Value>([
    ["approvals", approvalsRecord(env, request)],
    ["attestation", env.attestation === null ? NOT_ATTESTED : attestationRecord(env.attestation, env.t_ms)],
    ["delegation", recordOf([["depth", env.delegation_depth]])],
    ["identity", env.identity === null ? NOT_IDENTIFIED : identityRecord(env.identity)],
    ["labels", new CedarSet(env.labels)],
    ["now", new Datetime(env.t_ms)],
    ["pep", env.pep],
    ["region", env.region],
    [
      "run",
      recordOf([
        ["id", env.run.id],
        ["kind", env.run.kind],
        ["version", env.run.version],
      ]),
    ],
    ["t_ms", env.t_ms],
    ["trust", env.trust],
  ]);
  return { members, env };
}

const recordOf = (entries: readonly (readonly [string, Value])[]): CedarRecord => new CedarRecord(new Map(entries));

/** The weakest that there is: whoever asks is what the PEP says, and could be anybody who holds its credential. */
const NOT_IDENTIFIED = recordOf([
  ["bearer", true],
  ["issuer", ""],
  ["kind", "pep-asserted"],
  ["workload", ""],
]);

function identityRecord(identity: IdentityFacts): CedarRecord {
  const members: [string, Value][] = [
    ["bearer", identity.bearer],
    ["issuer", identity.issuer],
    ["kind", identity.kind],
    ["workload", identity.workload],
  ];
  if (identity.on_behalf_of !== null) members.push(["on_behalf_of", identity.on_behalf_of]);
  if (identity.trust_domain !== null) members.push(["trust_domain", identity.trust_domain]);
  return recordOf(members);
}

const NOT_ATTESTED = recordOf([
  ["bound", false],
  ["tier", "none"],
]);

const attestationRecord = ({ bound, iat_ms, tier }: AttestationFacts, t_ms: number): CedarRecord =>
  recordOf([
    ["age_ms", t_ms - iat_ms],
    ["bound", bound],
    ["tier", tier],
  ]);

const NOT_APPROVED = recordOf([
  ["approvers", new CedarSet([])],
  ["count", 0],
]);

function approvalsRecord({ approvals, t_ms }: PolicyEnv, request: CanonicalRequest): CedarRecord {
  const valid = validApprovals(approvals, request, t_ms);
  if (valid.length === 0) return NOT_APPROVED;
  const approvers = new CedarSet(valid.map(({ approver }) => approver));
  return recordOf([
    ["approvers", approvers],
    ["count", approvers.members.length],
  ]);
}

/** History entries that an action declares, as `context.interlock.history` names them and as facts do. */
export type DeclaredHistory = readonly (readonly [name: string, fact: string])[];

/** The whole of `context.interlock`, with the history entries that the action of one pack declares. */
export function interlockRecord({ members, env }: InterlockContext, declared: DeclaredHistory): CedarRecord {
  if (declared.length === 0) return new CedarRecord(members);
  const entries = declared.map(([name, fact]): [string, Value] => [
    name,
    historyRecord(
      env.history.find((one) => one.name === fact),
      env.t_ms,
    ),
  ]);
  return new CedarRecord(new Map([...members, ["history", recordOf(entries)]]));
}

const ZERO = parseDecimal("0.0") as Value;
/** Sums that no decimal holds are beyond every limit that a policy could name. */
const BEYOND = parseDecimal("922337203685477.5807") as Value;

function historyRecord(fact: HistoryFact | undefined, t_ms: number): CedarRecord {
  const sum = fact === undefined ? ZERO : parseDecimal(fact.sum.includes(".") ? fact.sum : `${fact.sum}.0`);
  const members: [string, Value][] = [
    ["any", fact !== undefined && fact.count > 0],
    ["count", fact?.count ?? 0],
    ["sum", typeof sum === "string" ? BEYOND : sum],
  ];
  if (fact !== undefined && fact.last_ms !== null)
    members.push(["age_ms", t_ms - fact.last_ms], ["last_ms", fact.last_ms]);
  return recordOf(members);
}
