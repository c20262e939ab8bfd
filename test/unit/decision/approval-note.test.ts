import { expect, test } from "vitest";
import { approvalNote } from "../../../src/decision/approval-note.ts";
import type { Bearing } from "../../../src/decision/bearing.ts";
import type { JsonObject } from "../../../src/base/json.ts";
import type { StepRules } from "../../../src/vocabulary/rules.ts";
import type { Approval, StepState } from "../../../src/vocabulary/run.ts";
import type { RunState } from "../../../src/vocabulary/types.ts";
import { request } from "../policy/pack-fixture.ts";

const rule = { action: "approve", ttl_ms: 60_000 };
const bearing = (approval: StepRules["approval"], over: Partial<Bearing> = {}): Partial<Bearing> => ({
  rules: { approval } as StepRules,
  ...over,
});
const given: Approval = { id: "a", approver: "user/bob", scope: "sha256:s", expires_ms: 5 };
const runOf = (kind: RunState["kind"], presented?: StepState["presented"]): RunState => ({
  id: "r",
  kind,
  status: "open",
  members: [],
  version: 1,
  ...(kind === "implicit" ? {} : { step: (presented === undefined ? {} : { presented }) as StepState }),
});
const named = (approval: JsonObject | string) => request({ context: { approval } });

test("says nothing where approvals are no matter", () => {
  for (const reason of [null, "policy_denied", "revoked"] as const)
    expect(approvalNote({ request: request(), run: runOf("opened") }, bearing(rule), reason)).toBeNull();
});

test("a missing approval can be asked for in an opened run whose packs name one", () => {
  const note = (run: RunState | null, approval: StepRules["approval"]) =>
    approvalNote({ request: request(), run }, bearing(approval), "approval_required");
  expect(note(runOf("opened"), rule)).toMatchObject({ requestable: true, why_not: null });
  expect(note(runOf("opened"), null)).toMatchObject({ requestable: false, why_not: "no_approval_rule" });
  expect(note(runOf("implicit"), rule)).toMatchObject({ requestable: false, why_not: "implicit_run" });
  expect(note(null, rule)).toMatchObject({ requestable: false, why_not: "implicit_run" });
});

test("one that is named is spoken of, whatever came of the step", () => {
  const asked = { request: named({ id: "a" }), run: runOf("opened", { id: "a", approval: given }) };
  expect(approvalNote(asked, bearing(rule), null)).toEqual({
    requestable: null,
    why_not: null,
    presented: { id: "a", problem: null, until_ms: 5 },
  });
  const over = bearing(rule, { presented_problem: "approval_expired" });
  expect(approvalNote(asked, over, "approval_required")).toMatchObject({
    requestable: true,
    presented: { problem: "approval_expired" },
  });
  const unknown = { request: named({ id: "b" }), run: runOf("opened", { id: "b", approval: null }) };
  expect(approvalNote(unknown, bearing(rule), "policy_denied")).toMatchObject({
    requestable: null,
    presented: { id: "b", problem: "approval_unverifiable", until_ms: null },
  });
  for (const odd of ["a", { id: 7 }, { id: "x".repeat(129) }, {}])
    expect(approvalNote({ request: named(odd), run: runOf("implicit") }, bearing(rule), null)).toMatchObject({
      presented: { id: "", problem: "approval_unverifiable" },
    });
});
