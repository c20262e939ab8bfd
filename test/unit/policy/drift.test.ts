import { expect, test } from "vitest";
import {
  describeDrift,
  differences,
  follow,
  isAlarming,
  isUnexplained,
  MAX_LAG_MS,
  type Drifting,
  type PolicyStatement,
  type StatedPack,
} from "../../../src/policy/drift.ts";

const pack = (name: string, changes: Partial<StatedPack> = {}): StatedPack => ({
  name,
  version: "1.0.0",
  digest: `content of ${name}`,
  probe: `answers of ${name}`,
  ...changes,
});

const says = (packs: readonly StatedPack[], changes: Partial<PolicyStatement> = {}): PolicyStatement => ({
  v: 1,
  engine: "interlock/1",
  probes: 1,
  policy: "policy",
  bundle: null,
  packs,
  ...changes,
});

const own = says([pack("a"), pack("b")]);

test("other packs than the signed policy in force gives to the region", () => {
  const theirs = says([pack("a"), pack("c")], { bundle: 7 });
  expect(follow([], "us", own, theirs, ["c", "a"], 1)).toEqual([]);
  const [found] = follow([], "us", own, theirs, ["a", "b", "c"], 1);
  expect(found).toMatchObject({ kind: "selection", pack: "", own: "a,b,c", theirs: "a,c" });
  expect(isUnexplained(found!)).toBe(true);
});

test.each<[string, PolicyStatement, readonly string[]]>([
  ["the same", own, []],
  ["another set of packs", says([pack("a"), pack("c")]), []],
  ["no pack in common", says([pack("c", { digest: "x", probe: "y" })]), []],
  ["no packs at all", says([]), []],
  ["another digest over its packs, which follows from the set", says([pack("a")], { policy: "other" }), []],
  ["a signed bundle with the same packs", says([pack("a")], { bundle: 7 }), []],
  ["a newer version", says([pack("a", { version: "1.1.0", digest: "x", probe: "y" })]), ["version a"]],
  ["one version, two contents", says([pack("a", { digest: "x" })]), ["content a"]],
  [
    "one version, two contents, and other answers: said once",
    says([pack("a", { digest: "x", probe: "y" })]),
    ["content a"],
  ],
  ["one content, other answers", says([pack("a", { probe: "y" })]), ["outcome a"]],
  ["two packs differ", says([pack("a", { digest: "x" }), pack("b", { probe: "y" })]), ["content a", "outcome b"]],
  ["not asked yet", says([pack("a", { probe: null })]), []],
  ["other questions", says([pack("a", { probe: "y" })], { probes: 2 }), []],
  [
    "another engine, which may answer otherwise",
    says([pack("a", { probe: "y" })], { engine: "interlock/2" }),
    ["engine "],
  ],
  [
    "another engine does not explain another content",
    says([pack("a", { digest: "x" })], { engine: "interlock/2" }),
    ["engine ", "content a"],
  ],
])("a peer that has %s", (_, theirs, expected) => {
  expect(differences(own, theirs).map(({ kind, pack: name }) => `${kind} ${name}`)).toEqual(expected);
  // Both sides find the same.
  const back = differences(theirs, own).map(({ kind, pack: name, own: a, theirs: b }) => [kind, name, b, a]);
  expect(back).toEqual(differences(own, theirs).map(({ kind, pack: name, own: a, theirs: b }) => [kind, name, a, b]));
});

test("a difference begins once, goes on, and is over when it is not found any more", () => {
  const odd = says([pack("a", { digest: "x" })]);
  const first = follow([], "us", own, odd, null, 1_000);
  expect(first).toEqual([
    { kind: "content", pack: "a", own: "content of a", theirs: "x", peer: "us", since_ms: 1_000, acknowledged: null },
  ]);
  expect(follow(first, "us", own, odd, null, 2_000)).toEqual(first);
  // Of another peer nothing was said.
  expect(follow(first, "ap", own, own, null, 2_000)).toEqual(first);
  expect(follow(first, "us", own, own, null, 3_000)).toEqual([]);
});

test("answers that are not there yet end no difference that was found by them, and nothing else outlives the look", () => {
  const odd = follow([], "us", own, says([pack("a", { probe: "y" }), pack("b", { digest: "x" })]), null, 1);
  const restarted = says([pack("a", { probe: null }), pack("b")]);
  expect(follow(odd, "us", own, restarted, null, 2)).toEqual([odd[0]]);
  expect(follow(odd, "us", own, says([pack("a", { probe: null })], { engine: "interlock/2" }), null, 2)).toMatchObject([
    { kind: "engine" },
  ]);
});

test("an acknowledgement is for that very difference", () => {
  const acknowledged = { by: "anna", reason: "known", at_ms: 5 };
  const [found] = follow([], "us", own, says([pack("a", { digest: "x" })]), null, 1);
  const known: readonly Drifting[] = [{ ...found!, acknowledged }];
  expect(isAlarming(known[0]!, 10)).toBe(false);
  expect(follow(known, "us", own, says([pack("a", { digest: "x" })]), null, 6)).toEqual(known);
  const [other] = follow(known, "us", own, says([pack("a", { digest: "z" })]), null, 6);
  expect(other).toMatchObject({ theirs: "z", since_ms: 6, acknowledged: null });
  expect(isAlarming(other!, 6)).toBe(true);
});

test("who is behind is alarmed about only after a week, and it is never unexplained", () => {
  for (const theirs of [says([pack("a", { version: "2.0.0" })]), says([], { engine: "interlock/2" })]) {
    const [lag] = follow([], "us", own, theirs, null, 1_000);
    expect(isUnexplained(lag!)).toBe(false);
    expect(isAlarming(lag!, 1_000 + MAX_LAG_MS - 1)).toBe(false);
    expect(isAlarming(lag!, 1_000 + MAX_LAG_MS)).toBe(true);
  }
});

test("the line for people names regions, packs and both sides, and stays short", () => {
  const many = Array.from({ length: 5 }, (_, i) =>
    follow([], `r${i}`, own, says([pack("a", { digest: `x${i}` })]), null, 1),
  );
  expect(describeDrift(many.flat(), 2)).toBe(
    "r0: a content x0, here content of a; r1: a content x1, here content of a; r2: a content x2, here content of a and 2 more",
  );
  expect(describeDrift([], 2)).toBe(null);
});
