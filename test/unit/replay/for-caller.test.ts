import { expect, test } from "vitest";
import { forCaller } from "../../../src/replay/explain/for-caller.ts";
import type { ReasonCode } from "../../../src/vocabulary/reasons.ts";
import type { CanonicalRequest } from "../../../src/vocabulary/types.ts";

const request: CanonicalRequest = {
  v: 1,
  subject: { type: "user", id: "alice, or bob" },
  action: { name: "read" },
  resource: { type: "record", id: "r-1" },
};
const said = (reason: ReasonCode, detail: string, of = request): string | undefined =>
  forCaller(of, { reason, detail }).detail;
const dora: CanonicalRequest = { ...request, subject: { type: "user", id: "dora" } };

test.each(["revoked", "trust_degraded"] as const)("%s: of others the kind only, each once", (reason) => {
  expect(said(reason, "subject:user/alice, or bob")).toBe("subject:user/alice, or bob");
  expect(said(reason, "resource:record/r-1, subject:user/carol, subject:user/dan, run:eu.1.x")).toBe(
    "resource:record/r-1, another subject, run:eu.1.x",
  );
  expect(said(reason, "credential:https://idp.example#carol-1, issuer:https://idp.example, s1.abc")).toBe(
    "another credential, another issuer, something that the step rests on",
  );
  // A piece of somebody's name is told as little as the name.
  expect(said(reason, "subject:user/a, user/b, carol", dora)).toBe("another subject, something that the step rests on");
});

test("approvers are not named, whoever asks; other details are as they are", () => {
  expect(said("approver_not_independent", "user/carol, user/dora", dora)).toBe("another approver, user/dora");
  expect(said("approver_not_independent", "user/dora", dora)).toBe("user/dora");
  expect(said("policy_denied", "subject:user/carol")).toBe("subject:user/carol");
  expect(forCaller(request, { reason: "revoked" })).toEqual({ reason: "revoked" });
});

test("a step or a pass that fell with another is named, what it rested on is not", () => {
  expect(said("ancestor_revoked", "step eu.1.s0.1 rests on open.abc, step eu.1.s0.2/3 rests on s1.def")).toBe(
    "step eu.1.s0.1 rests on something that was revoked, step eu.1.s0.2/3 rests on something that was revoked",
  );
  expect(said("ancestor_revoked", "what pass us.1.p uses rests on open.abc, s1.def")).toBe(
    "what pass us.1.p uses rests on something that was revoked",
  );
  expect(said("ancestor_revoked", "step eu.1.s0.1")).toBe("step eu.1.s0.1");
});
