import { describe, expect, test } from "vitest";
import { SOURCE_BODIES } from "../../../../src/credentials/sources/schema.ts";
import { isIssuedName } from "../../../../src/credentials/workload/issued-names.ts";

const PLANNER = "spiffe://prod.example/agent/planner";

test.each([
  ["agent-7", ["agent-7"], true],
  ["agent-7", ["agent-*"], true],
  ["agent-", ["agent-*"], true],
  ["Agent-7", ["agent-*"], false],
  ["agent-77", ["agent-7"], false],
  ["my-agent-7", ["agent-*"], false],
  ["agent-*", ["agent-7"], false],
  ["anyone", [], false],
  [PLANNER, [PLANNER], true],
  [`${PLANNER}2`, [PLANNER], false],
  [PLANNER, ["s*"], false],
  ["WIMSE://prod.example/x", ["W*"], false],
])("%s of %j: %s", (name, listed, holds) => {
  expect(isIssuedName(name, listed)).toBe(holds);
});

describe("a registration of an issuer", () => {
  const body = {
    issuer: "https://login.example",
    audience: "https://eu.pdp.example",
    jwks_uri: "https://login.example/jwks.json",
    algorithms: ["ES256"],
  };
  const read = (subjects?: readonly string[]) => SOURCE_BODIES.issuer.safeParse({ ...body, subjects });

  test.each([[["agent-*", "user@bank.example"]], [[PLANNER]]])("takes %j", (subjects) => {
    expect(read(subjects)).toMatchObject({ success: true, data: { subjects } });
  });

  test.each([
    [undefined, /expected array/],
    [[], />=1/],
    [[""], />=1/],
    [["*"], /end of a prefix/],
    [["a*b"], /end of a prefix/],
    [["a**"], /end of a prefix/],
    [["spiffe://*"], /listed whole/],
    [["Wimse://prod.example/*"], /listed whole/],
  ])("refuses %j", (subjects, why) => {
    const said = read(subjects);
    expect(said.success).toBe(false);
    expect(said.error?.issues).toMatchObject([{ path: subjects?.length ? ["subjects", 0] : ["subjects"] }]);
    expect(said.error?.issues[0]?.message).toMatch(why);
  });
});
