import * as fc from "fast-check";
import { expect, test } from "vitest";
import { mergeLooks, type FoundAt, type Look, type Position } from "../../../src/lineage/found-order.ts";

/** Records of some shards: times never decrease within one. */
const shards = fc.array(
  fc
    .array(fc.nat(3), { maxLength: 25 })
    .map((steps) =>
      steps.map((step, at) => ({ sseq: at + 1, t_ms: steps.slice(0, at).reduce((a, b) => a + b, step) })),
    ),
  { minLength: 1, maxLength: 5 },
);

/** What a shard does: looks at up to `cap` records below the position, and keeps those that match. */
function look(
  records: readonly FoundAt[],
  shard: number,
  position: Position,
  limit: number,
  cap: number,
  matches: (one: FoundAt) => boolean,
): Look<FoundAt> {
  if (position === "done") return { shard, found: [], next: null };
  const rest = records.filter(({ sseq }) => sseq < position).toReversed();
  const found: FoundAt[] = [];
  let at = 0;
  for (; at < rest.length && at < cap && found.length < limit; at++) if (matches(rest[at]!)) found.push(rest[at]!);
  const next = rest[at];
  return { shard, found, next: next === undefined ? null : { before_sseq: next.sseq + 1, t_ms: next.t_ms } };
}

test("pages give every match once, in one order, however little each shard looks at", () => {
  fc.assert(
    fc.property(
      shards,
      fc.integer({ min: 1, max: 7 }),
      fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 5, maxLength: 5 }),
      fc.integer({ min: 1, max: 4 }),
      (records, limit, caps, every) => {
        const matches = ({ sseq, t_ms }: FoundAt): boolean => (sseq * 7 + t_ms) % every === 0;
        let positions: Position[] = records.map(() => Number.MAX_SAFE_INTEGER);
        const seen: (FoundAt & { readonly shard: number })[] = [];
        for (let pages = 0; positions.some((position) => position !== "done"); pages++) {
          expect(pages).toBeLessThan(400);
          const looks = records.map((own, shard) => look(own, shard, positions[shard]!, limit, caps[shard]!, matches));
          const merged = mergeLooks(looks, limit);
          expect(merged.page.length).toBeLessThanOrEqual(limit);
          seen.push(...merged.page.map(({ shard, found }) => ({ ...found, shard })));
          expect(merged.positions).not.toEqual(positions);
          positions = merged.positions;
        }
        const all = records
          .flatMap((own, shard) => own.filter(matches).map((one) => ({ ...one, shard })))
          .sort((a, b) => b.t_ms - a.t_ms || a.shard - b.shard || b.sseq - a.sseq);
        expect(seen).toEqual(all);
      },
    ),
    { numRuns: 500 },
  );
});

test("what another shard may still find first is waited for", () => {
  const looks = [
    {
      shard: 0,
      found: [
        { sseq: 9, t_ms: 100 },
        { sseq: 8, t_ms: 50 },
      ],
      next: null,
    },
    { shard: 1, found: [], next: { before_sseq: 40, t_ms: 80 } },
  ];
  const { page, positions } = mergeLooks(looks, 10);
  expect(page.map(({ found }) => found.sseq)).toEqual([9]);
  expect(positions).toEqual([9, 40]);
});
