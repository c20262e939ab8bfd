import { expect, test } from "vitest";
import { approvalContext } from "../../../src/http/approval-context.ts";
import type { ItemAnswer } from "../../../src/objects/decide.ts";
import type { ApprovalNote } from "../../../src/vocabulary/types.ts";

const UNTIL = Date.UTC(2030, 0, 1);
const NONE: ApprovalNote = { requestable: null, why_not: null, presented: null };
const item = (over: Partial<ItemAnswer>): ItemAnswer => ({
  decision: false,
  reason: "approval_required",
  policy_reason: null,
  obligations: [],
  valid_until_ms: 0,
  ...over,
});
const offered = { access_request: { binding_token: "t", expires_ms: UNTIL } };
const named = (problem: string | null, over: Partial<ApprovalNote> = {}): Pick<ItemAnswer, "approval"> => ({
  approval: { ...NONE, ...over, presented: { id: "a", problem, until_ms: problem === null ? UNTIL : null } },
});
const shown = (over: Partial<ItemAnswer>) => approvalContext(item(over), "https://eu.example");

test("nothing where nothing is said of approvals", () => {
  expect(shown({})).toBeNull();
  expect(shown({ reason: "policy_denied", approval: NONE })).toBeNull();
});

test("what can be asked for, and why not", () => {
  expect(shown({ ...offered, approval: { ...NONE, requestable: true } })).toEqual({
    access_request: {
      endpoint: "https://eu.example/access/v1/requests",
      expires_at: "2030-01-01T00:00:00Z",
      binding_token: "t",
    },
  });
  for (const why_not of ["implicit_run", "no_approval_rule"] as const)
    expect(shown({ approval: { ...NONE, requestable: false, why_not } })).toEqual({ not_requestable: why_not });
});

test("an approval that counted, with its end", () => {
  expect(shown({ decision: true, reason: null, ...named(null) })).toEqual({
    approval: { id: "a", approved_until: "2030-01-01T00:00:00Z" },
  });
  // Allowed for another reason: nothing is said of one that does not help.
  expect(shown({ decision: true, reason: null, ...named("out_of_scope") })).toBeNull();
});

test.each(["approval_expired", "out_of_scope", "approval_unverifiable", "approver_not_independent"])(
  "%s: ask for another one, where that is possible",
  (problem) => {
    expect(shown({ ...offered, ...named(problem, { requestable: true }) })).toMatchObject({
      approval: { id: "a", reason: problem },
      next_action: "request",
    });
    expect(shown(named(problem))).toMatchObject({ approval: { reason: problem }, next_action: "none" });
  },
);

test("a valid approval that policy denies ends there; one that the region cannot look at now is asked again", () => {
  expect(shown({ reason: "policy_denied", ...named(null) })).toMatchObject({
    approval: { reason: "policy_denied" },
    next_action: "none",
  });
  expect(shown({ reason: "sync_stale", ...named(null) })).toMatchObject({
    approval: { reason: "grant_pending" },
    next_action: "retry",
    retry_after: 1,
  });
});
