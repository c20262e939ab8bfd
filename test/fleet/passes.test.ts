import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { asking, startFederation, type Federation } from "../support/federation.ts";
import { claimsOf, fetchReceipt, note, openPass, openRun, take, type Given } from "../support/passes.ts";

/** Runs that are at home in eu, some steps of which are taken in us (docs/passes.md). ap has nothing to do with them. */
let fed: Federation;
beforeAll(async () => {
  fed = await startFederation();
});
afterAll(() => fed.close());

let unique = 0;
const BOSS = asking("eu-boss", "eu-record");
const taking = (region: string, node: string, after: string[], over: object = {}) => ({
  id: node,
  action: "write",
  after,
  region,
  repeat: 1_000,
  ...over,
});

type World = { readonly run: string; readonly quoter: string };

/** read (eu) → quote (us) → pay (eu), and look (eu) beside it. */
async function world(changes: object = {}): Promise<World> {
  const quoter = `us-quoter-${++unique}`;
  const run = await openRun(fed.eu, {
    principal: ref(BOSS),
    members: [ref(asking(quoter, ""))],
    plan: {
      nodes: [
        taking("eu", "read", []),
        taking("us", "quote", ["read"]),
        taking("eu", "pay", ["quote"]),
        taking("eu", "look", ["read"]),
      ],
    },
    ...changes,
  });
  expect(await at(run, "read")).toMatchObject({ failed: [], decision: true });
  return { run, quoter };
}

const ref = ({ subject: { type, id } }: ReturnType<typeof asking>) => ({ type, id });
const at = (run: string, step: string, more: object = {}) => take(fed.eu, BOSS, { run, step, ...more });
const passFor = ({ run, quoter }: World, more: object = {}): Promise<Given> =>
  openPass(fed.eu, run, {
    step: "quote",
    region: "us",
    subject: ref(asking(quoter, "")),
    action: "write",
    ...more,
  });
const quote = ({ quoter }: World, pass: string, more: object = {}) =>
  take(fed.us, asking(quoter, "us-pair"), { pass, ...more });

describe("a step in another region", () => {
  test("is taken there under a pass, and counted at home by its receipt", async () => {
    const w = await world();
    const given = await passFor(w);
    expect(given).toMatchObject({ status: 201, code: "" });
    expect(claimsOf(given.pass)).toMatchObject({ iss: "eu", aud: "us", node: "quote", action: "write", labels: [] });
    expect(await at(w.run, "pay")).toMatchObject({ decision: false, reason: "guest_receipt_missing" });

    const there = await quote(w, given.pass);
    expect(there).toMatchObject({ failed: [], decision: true });
    const claims = claimsOf(there.receipt!);
    expect(claims).toMatchObject({ iss: "us", aud: "eu", pass: given.id, decision: "allow", decision_id: there.id });

    expect(await at(w.run, "pay", { step_receipts: [there.receipt] })).toMatchObject({ failed: [], decision: true });
    // It was noted: the next one does not need it.
    expect(await at(w.run, "pay")).toMatchObject({ failed: [], decision: true });
    expect(await note(fed.eu, w.run, [there.receipt!])).toMatchObject({ status: 200 });
    const again = await fetchReceipt(fed.us, given.id);
    expect(again).toMatchObject({ status: 200, decision: "allow" });
    expect(claimsOf(again.receipt)).toEqual(claims);
  });
});
