import { isObject, type JsonObject } from "../base/json.ts";
import { err, ok, type Result } from "../base/result.ts";
import type { TrustLevel } from "../trust/levels.ts";

/**
 * What CAEP 1.0 and RISC 1.0 events do here (TRUST section 3.1). They only ever lower: the opposite direction permits
 * that somebody attests again or restores, and raises nothing by itself. What cannot be told counts as lower.
 */
export type Severity = Exclude<TrustLevel, "trusted">;

type Lowering = {
  readonly level: Severity;
  /** `beginning` for a compromise: also what already rested on it. */
  readonly from: "issue" | "beginning";
  /** Members of a complex subject that the event is about, in this order. */
  readonly aims: readonly string[];
  readonly note: string | null;
};
type Nothing = { readonly level: null; readonly why: string };
export type Level = Lowering | Nothing;

const CAEP = "https://schemas.openid.net/secevent/caep/event-type/";
const RISC = "https://schemas.openid.net/secevent/risc/event-type/";

const USER = ["user", "device", "application"] as const;
const SESSION = ["session", "user", "device", "application"] as const;
const DEVICE = ["device", "user"] as const;

const lower = (
  level: Severity,
  aims: readonly string[],
  note: string | null = null,
  from: Lowering["from"] = "issue",
): Result<Level, string> => ok({ level, from, aims, note });
const nothing = (why: string): Result<Level, string> => ok({ level: null, why });

export function levelOf(type: string, event: JsonObject): Result<Level, string> {
  const rule = Object.hasOwn(RULES, type) ? RULES[type]! : null;
  // Requested, but of a profile that nobody here knows: what it means cannot be told.
  return rule === null ? err(`the event type is not known here: ${type.slice(0, 128)}`) : rule(event);
}

const RULES: Readonly<Record<string, (event: JsonObject) => Result<Level, string>>> = {
  [`${CAEP}session-revoked`]: () => lower("revoked", SESSION),
  [`${CAEP}token-claims-change`]: (event) =>
    isObject(event["claims"]) ? lower("revoked", SESSION) : err("token-claims-change has no claims"),
  [`${CAEP}credential-change`]: credentialChange,
  [`${CAEP}assurance-level-change`]: assuranceLevelChange,
  [`${CAEP}device-compliance-change`]: deviceComplianceChange,
  [`${CAEP}risk-level-change`]: riskLevelChange,
  [`${CAEP}session-established`]: () => nothing("a session was established"),
  [`${CAEP}session-presented`]: () => nothing("a session was presented"),
  [`${RISC}account-disabled`]: () => lower("revoked", USER),
  [`${RISC}account-purged`]: () => lower("revoked", USER),
  [`${RISC}account-enabled`]: () => nothing("an account was enabled; nothing is raised by it"),
  [`${RISC}account-credential-change-required`]: () => lower("degraded", USER),
  [`${RISC}credential-compromise`]: () => lower("revoked", USER, null, "beginning"),
  [`${RISC}identifier-changed`]: () => lower("degraded", USER, "the identifier means nobody any more"),
  [`${RISC}identifier-recycled`]: () => lower("revoked", USER, "the identifier means somebody else now"),
  [`${RISC}recovery-activated`]: () => lower("degraded", USER),
  [`${RISC}recovery-information-changed`]: () => nothing("recovery information was changed"),
  [`${RISC}sessions-revoked`]: () => lower("revoked", USER),
  [`${RISC}opt-in`]: () => nothing("opted in"),
  [`${RISC}opt-out-initiated`]: () => nothing("opting out"),
  [`${RISC}opt-out-cancelled`]: () => nothing("opting out was cancelled"),
  [`${RISC}opt-out-effective`]: () => nothing("opted out"),
};

function credentialChange({ change_type, credential_type }: JsonObject): Result<Level, string> {
  if (typeof credential_type !== "string") return err("credential-change has no credential_type");
  switch (change_type) {
    case "revoke":
    case "delete":
      return lower("revoked", USER, "the event names no key: its holder is revoked");
    case "create":
    case "update":
      return nothing(`a credential: ${change_type}`);
    default:
      return err("change_type is not create, revoke, update or delete");
  }
}

/** NIST SP 800-63: levels that can be compared. */
const RANKED = /^nist-?(aal|ial|fal)-?([1-3])$/i;

function assuranceLevelChange(event: JsonObject): Result<Level, string> {
  const { namespace, current_level, previous_level, change_direction } = event;
  if (typeof namespace !== "string" || typeof current_level !== "string") {
    return err("assurance-level-change has no namespace or no current_level");
  }
  const direction = change_direction ?? compared(previous_level, current_level);
  if (direction === "increase") return nothing("assurance rose; nothing is raised by it");
  if (direction === "decrease") return lower("degraded", USER);
  return direction === null
    ? lower("degraded", USER, "the direction is not stated: taken for a decrease")
    : err("change_direction is not increase or decrease");
}

function compared(previous: unknown, current: string): "increase" | "decrease" | null {
  const [before, after] = [RANKED.exec(typeof previous === "string" ? previous : ""), RANKED.exec(current)];
  if (before === null || after === null || before[1]!.toLowerCase() !== after[1]!.toLowerCase()) return null;
  return before[2]! <= after[2]! ? "increase" : "decrease";
}

function deviceComplianceChange({ current_status }: JsonObject): Result<Level, string> {
  switch (current_status) {
    case "not-compliant":
      return lower("quarantined", DEVICE);
    case "compliant":
      return nothing("a device is compliant; nothing is raised by it");
    default:
      return err("current_status is not compliant or not-compliant");
  }
}

function riskLevelChange({ current_level, principal }: JsonObject): Result<Level, string> {
  if (typeof principal !== "string" || !/^[A-Z_]{1,32}$/.test(principal))
    return err("risk-level-change has no principal");
  const aims = [principal.toLowerCase()];
  switch (current_level) {
    case "HIGH":
      return lower("quarantined", aims);
    case "MEDIUM":
      return lower("degraded", aims);
    case "LOW":
      return nothing("risk is low; nothing is raised by it");
    default:
      return err("current_level is not LOW, MEDIUM or HIGH");
  }
}
