import { describe, expect, test } from "vitest";
import type { RunBook } from "../../../durable-objects/shard/run/book.ts";
import type { GuestStep, Said } from "../../../durable-objects/shard/run/guest-steps.ts";
import { refusedReceipts, standingOf } from "../../../durable-objects/shard/run/noted.ts";
import type { StepReceiptFacts } from "../../../src/vocabulary/run.ts";

/** What a step receipt is to the run that it came with, given what was noted before. */
const RUN = "eu.1.run";
const said = (decision: Said["decision"], n: number): Said => ({
  decision,
  decision_id: `us.1.s0.${n}`,
  leaf: `leaf-${n}`,
  t_ms: n * 100,
});
const receipt = (decision: Said["decision"], n: number, over: Partial<StepReceiptFacts> = {}): StepReceiptFacts => ({
  ...said(decision, n),
  pass: "eu.1.pass",
  region: "us",
  labels: [],
  dependencies: [],
  homes: ["us"],
  keys: [],
  digest: "sha256:x",
  ...over,
});
const books = (over: Partial<GuestStep>, taken = 0): RunBook => {
  const guest: GuestStep = {
    sseq: 7,
    run: RUN,
    pass: "eu.1.pass",
    region: "us",
    state: "awaited",
    said: null,
    ...over,
  };
  return {
    guests: { ofPass: (pass: string) => (pass === guest.pass ? guest : null) },
    step: () => ({ node: "quote" }),
    plan: () => ({}),
    nodes: () => new Map([["quote", { id: "quote", repeat: 1 }]]),
    tried: () => ({ taken }),
  } as unknown as RunBook;
};
const allowed = { state: "allowed", said: said("allow", 2) } as const;
const denied = { state: "denied", said: said("deny", 2) } as const;

describe("a step receipt", () => {
  test.each([
    ["the first, an allow", {}, receipt("allow", 1), "counts"],
    ["the first, a deny", {}, receipt("deny", 1), "counts"],
    ["the same allow again", allowed, receipt("allow", 2), "known"],
    ["the same allow under a new certificate", allowed, receipt("allow", 2, { digest: "sha256:y" }), "known"],
    ["the same deny again", denied, receipt("deny", 2), "known"],
    ["a newer deny", denied, receipt("deny", 3), "counts"],
    ["an older deny", denied, receipt("deny", 1), "known"],
    ["an allow after a deny", denied, receipt("allow", 3), "counts"],
    ["an allow from before a deny", denied, receipt("allow", 1), "contradicts"],
    ["a deny from before the allow", allowed, receipt("deny", 1), "known"],
    ["a deny from after the allow", allowed, receipt("deny", 3), "contradicts"],
    ["another allow", allowed, receipt("allow", 3), "contradicts"],
    ["another allow, of before", allowed, receipt("allow", 1), "contradicts"],
    ["the allowed decision as a deny", allowed, receipt("deny", 2), "contradicts"],
    ["the denied decision as an allow", denied, receipt("allow", 2), "contradicts"],
    ["the same decision with another record", allowed, receipt("allow", 2, { leaf: "other" }), "contradicts"],
    ["of another region", {}, receipt("allow", 1, { region: "ap" }), "refused"],
    ["of a pass that is not known", {}, receipt("allow", 1, { pass: "eu.1.none" }), "refused"],
    ["of a pass of another run", { run: "eu.1.other" }, receipt("allow", 1), "refused"],
  ] satisfies [string, Partial<GuestStep>, StepReceiptFacts, string][])("%s", (_name, known, came, expected) => {
    const standing = standingOf(books(known), RUN, came);
    expect(standing.kind === "refused" && standing.contradicts ? "contradicts" : standing.kind).toBe(expected);
  });

  test("of a node that was taken otherwise since its attempt was denied has no room", () => {
    expect(standingOf(books(denied, 1), RUN, receipt("allow", 3)).kind).toBe("refused");
    expect(standingOf(books({}, 1), RUN, receipt("allow", 3)).kind).toBe("counts");
  });

  test("that is not in the rows denies the step that it came with, and says why", () => {
    const came = [receipt("allow", 2), receipt("allow", 3)];
    expect(refusedReceipts(books(allowed), RUN, came)).toEqual([
      {
        reason: "guest_receipt_missing",
        detail: "pass eu.1.pass was used for us.1.s0.2, and now for us.1.s0.3",
      },
    ]);
    expect(refusedReceipts(books({}), RUN, [receipt("allow", 1)])).toHaveLength(1);
  });
});
