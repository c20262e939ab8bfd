import { describe, expect, test } from "vitest";
import { authorize, authorizeStrict, record } from "../../../src/cedar/index.ts";
import { alice, attribute, compiled, photo, policy, stored, view } from "./fixtures.ts";

const store = stored([]);
const request = { principal: alice, action: view, resource: photo, context: record([]) };
/** Errs: alice is not in the store. */
const revoked = attribute("principal", "revoked");

describe("strict mode", () => {
  test("denies where the reference skips an erring forbid", () => {
    const policies = compiled(policy("permit"), policy("forbid", revoked));
    expect(authorize(policies, store, request).decision).toBe("allow");
    const strict = authorizeStrict(policies, store, request);
    expect(strict).toMatchObject({ decision: "deny", cause: "error", reasons: [] });
    expect(strict.errors).toEqual([{ policyId: "p1", message: 'entity `User::"alice"` does not exist' }]);
  });

  test("denies when a permit errs although another permits", () => {
    const policies = compiled(policy("permit"), policy("permit", revoked));
    expect(authorizeStrict(policies, store, request)).toMatchObject({ decision: "deny", cause: "error" });
  });

  test("names the forbid when one is satisfied, and lists the errors beside it", () => {
    const policies = compiled(policy("permit", revoked), policy("forbid"), policy("forbid"));
    const strict = authorizeStrict(policies, store, request);
    expect(strict).toMatchObject({ decision: "deny", cause: "forbid", reasons: ["p1", "p2"] });
    expect(strict.errors).toHaveLength(1);
  });

  test("allows with the permits in policy order, and denies without any", () => {
    const allow = authorizeStrict(compiled(policy("permit"), policy("permit")), store, request);
    expect(allow).toEqual({ decision: "allow", reasons: ["p0", "p1"], errors: [], cause: "permit" });
    expect(authorizeStrict(compiled(), store, request)).toMatchObject({ decision: "deny", cause: "no_permit" });
  });

  test("an error outside a policy's scope is no error", () => {
    const scoped = { ...policy("forbid", revoked), principal: { op: "==", entity: { type: "User", id: "bob" } } };
    expect(authorizeStrict(compiled(policy("permit"), scoped), store, request).decision).toBe("allow");
  });
});
