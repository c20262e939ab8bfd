import { expect, test } from "vitest";
import { sha256 } from "../../../src/base/digest.ts";
import { compactable, PAGE_ENTRIES, pageDigest, secretInForce, verifyPage } from "../../../src/sync/snapshot.ts";
import type { OriginEntry } from "../../../src/trust/merge.ts";
import { mark, Region } from "./harness.ts";

const entry = (n: number): OriginEntry => ({
  key: `k${String(n).padStart(6, "0")}`,
  origin: "us",
  generation: 1,
  state: "revoked",
  from: "issue",
  until_ms: null,
});
const all = Array.from({ length: PAGE_ENTRIES + 3 }, (_, n) => entry(n));
const pages = [all.slice(0, PAGE_ENTRIES), all.slice(PAGE_ENTRIES)];
const manifest = {
  v: 1 as const,
  origin: "us",
  incarnation: 1,
  seq: 9,
  head_hash: "us#9",
  secret_id: "s1",
  pages: pages.map((page) => pageDigest(page, sha256)),
  count: all.length,
};

test("the pages that were signed verify, in order", () => {
  const first = verifyPage(manifest, 0, pages[0]!, null, sha256);
  expect(first).toEqual({ ok: true, value: { last_key: `k00${PAGE_ENTRIES - 1}` } });
  expect(verifyPage(manifest, 1, pages[1]!, `k00${PAGE_ENTRIES - 1}`, sha256).ok).toBe(true);
});

test("a page that lacks one, has one changed, stands elsewhere or is of another origin is refused", () => {
  const page = pages[1]!;
  const wrong: (readonly OriginEntry[])[] = [
    page.slice(1),
    [...page, entry(999_999)],
    page.map((one, i) => (i === 0 ? { ...one, state: "restored" as const } : one)),
    page.map((one) => ({ ...one, generation: 2 })),
  ];
  for (const entries of wrong) expect(verifyPage(manifest, 1, entries, null, sha256).ok).toBe(false);
  expect(verifyPage(manifest, 0, page, null, sha256).ok).toBe(false);
  expect(verifyPage(manifest, 2, [], null, sha256).ok).toBe(false);
  // Signed so, and still not to be taken.
  for (const entries of [[entry(2), entry(1)], [entry(1), entry(1)], [{ ...entry(1), origin: "ap" }]]) {
    const signed = { ...manifest, pages: [pageDigest(entries, sha256)], count: entries.length };
    expect(verifyPage(signed, 0, entries, null, sha256).ok).toBe(false);
  }
  const again = { ...manifest, pages: [pageDigest(page, sha256)], count: page.length };
  expect(verifyPage(again, 0, page, page[0]!.key, sha256).ok).toBe(false);
});

test("events are dropped as far as everybody who may ask has confirmed them, and no further than the snapshot", () => {
  const eu = new Region();
  for (let seq = 1; seq <= 5; seq++) eu.append(seq);
  expect(compactable(eu.core, eu.state, 5)).toBe(0);
  eu.pull("us", { have: mark("eu", 5) });
  expect(compactable(eu.core, eu.state, 5)).toBe(0);
  eu.pull("ap", { have: mark("eu", 3) });
  expect(compactable(eu.core, eu.state, 5)).toBe(3);
  expect(compactable(eu.core, eu.state, 2)).toBe(2);
});

test("a new secret counts only when every origin has re-issued its snapshot under it", () => {
  const under = (...ids: string[]) => Object.fromEntries(ids.map((id, i) => [["us", "ap"][i]!, { secret_id: id }]));
  expect(secretInForce("s1", null, ["us", "ap"], {})).toBe("s1");
  expect(secretInForce("s1", "s2", ["us", "ap"], under("s2"))).toBe("s1");
  expect(secretInForce("s1", "s2", ["us", "ap"], under("s2", "s1"))).toBe("s1");
  expect(secretInForce("s1", "s2", ["us", "ap"], under("s2", "s2"))).toBe("s2");
});
