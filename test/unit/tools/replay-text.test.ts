import { expect, test } from "vitest";
import { replayText } from "../../../tools/replay/replay.ts";
import { thereText } from "../../../tools/replay/there.ts";

const THERE = { region: "eu", state: "done", since_ms: 0, began_ms: 0, looked: 0, of: 0, counts: {}, shards: [] };
type View = Parameters<typeof thereText>[0];

test("no record is not said to be identical", () => {
  expect(replayText({ verdict: "identical", records: 0, counts: [], different: [] })).toMatch(/^NOTHING/);
  expect(replayText({ verdict: "identical", records: 1, counts: [["identical", 1]], different: [] })).toMatch(
    /^IDENTICAL {2}1 records\n +1 {2}identical$/,
  );
  expect(thereText({ ...THERE, verdict: "identical" } as unknown as View)).toMatch(/^NOTHING/);
  expect(thereText({ ...THERE, verdict: "incomplete" } as unknown as View)).toMatch(/^INCOMPLETE {2}0 records/);
});
