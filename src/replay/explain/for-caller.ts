import { entityForm, resourceKey, subjectKey } from "../../trust/keys.ts";
import type { CanonicalRequest } from "../../vocabulary/types.ts";
import type { FailedCheck } from "../../vocabulary/reasons.ts";

/** Kinds of keys that name nobody: the caller, its run, the regions. */
const OWN = new Set(["pep", "region", "run"]);

/**
 * A failed check as the caller may read it (docs/explain.md): of what a step rests on beside the request itself, such
 * as a delegation, an approval or a credential, the kind only. The record has it whole, for those who may read records.
 */
export function forCaller({ subject, resource }: CanonicalRequest, check: FailedCheck): FailedCheck {
  const { reason, detail } = check;
  if (detail === undefined) return check;
  const named = (keep: (text: string) => boolean, otherwise: (text: string) => string): FailedCheck => {
    const texts = detail.split(", ").map((text) => (keep(text) ? text : otherwise(text)));
    return { reason, detail: [...new Set(texts)].join(", ") };
  };
  if (reason === "revoked" || reason === "trust_degraded") {
    const said = new Set([subjectKey(subject.type, subject.id), resourceKey(resource.type, resource.id)]);
    // An id that has a comma in it is cut, and so is not told: better too little.
    if (said.has(detail)) return check;
    return named((key) => said.has(key) || OWN.has(kindOf(key) ?? ""), unnamed);
  }
  if (reason === "ancestor_revoked") return { reason, detail: detail.replaceAll(RESTED_ON, SOMETHING_REVOKED) };
  if (reason !== "approver_not_independent") return check;
  const asker = entityForm(subject.type, subject.id);
  return detail === asker
    ? check
    : named(
        (name) => name === asker,
        () => "another approver",
      );
}

/** After the name of a step, up to the next one, or of a pass: what it rested on (`runs/sequence`, `runs/guest`). */
const RESTED_ON = / rests on .*?(?=, step \S+ rests on |$)/gs;
const SOMETHING_REVOKED = " rests on something that was revoked";

/** `null`: a pseudonym, or a piece of a name. */
const kindOf = (key: string): string | null => /^([a-z-]+):/.exec(key)?.[1] ?? null;

function unnamed(key: string): string {
  const kind = kindOf(key);
  return kind === null ? "something that the step rests on" : `another ${kind}`;
}
