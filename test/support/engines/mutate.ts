import type { Random } from "../random.ts";
import { Members, Raw, type Tree } from "./spell.ts";

/** Texts that engines, locales or careless code could take for one another, and spellings of Cedar's own types. */
export const TEXTS: readonly string[] = [
  "",
  "I",
  "i",
  "\u0130",
  "\u0131",
  "\u00df",
  "\u1e9e",
  "\u212a",
  "\u017f",
  "\ufb01",
  "\u00c5",
  "A\u030a",
  "\u212b",
  "\u1c89",
  "\ua7cb",
  "\u{10d50}",
  "\u{1f600}",
  "\uffff",
  "a\u0000b",
  "\ufeffa",
  "\u2028",
  "\ud800",
  "\udc00a",
  "\ud83dx",
  "constructor",
  "__proto__",
  "toString",
  "x".repeat(5_000),
  "2026-01-15",
  "2026-01-15T12:00:00Z",
  "2026-01-15T12:00:00.000Z",
  "2026-01-15T13:00:00+0100",
  "2026-01-15T13:00:00+01:00",
  "2024-02-29",
  "2023-02-29",
  "0001-01-01",
  "2026-01-15T24:00:00Z",
  "1.0",
  "1.0000",
  "01.10",
  "-0.0",
  "1.00000",
  "1e2",
  "922337203685477.5807",
  "922337203685477.5808",
  "-922337203685477.5808",
  "-922337203685477.5809",
  "9223372036854775807",
  "9223372036854775808",
  "-9223372036854775808",
  "-9223372036854775809",
  "1h30m",
  "-1d1ms",
  "9223372036854775807ms",
  "9223372036854775808ms",
  "127.0.0.1",
  "127.0.0.01",
  "10.0.0.0/8",
  "::1",
  "::ffff:1.2.3.4",
  "0:0:0:0:0:0:0:1",
  "fe80::1/10",
  "FF02::1",
];

const NUMBERS: readonly (number | string)[] = [
  0,
  -1,
  1,
  10,
  0.5,
  0.1,
  1.005,
  0.0001,
  0.00001,
  123.4567,
  4.35,
  900719925474.0991,
  "900719925474.0993",
  9007199254740991,
  -9007199254740991,
  "9007199254740992",
  "9007199254740993",
  "9223372036854775807",
  "-9223372036854775808",
  "1e21",
  "1E+2",
  "5e-324",
  "1.7976931348623157e308",
  "1e400",
  "-1e400",
  "4.9999999999999999",
  "0.30000000000000004",
  "2.2250738585072011e-308",
  "NaN",
  "Infinity",
  "0x10",
  "010",
  "1.",
  ".5",
  "+1",
  "--1",
];

const NAMES: readonly string[] = [
  "__proto__",
  "constructor",
  "toJSON",
  "hasOwnProperty",
  "0",
  "1",
  "10",
  "-1",
  "\u00e9",
  "e\u0301",
  "\uffff",
  "\u{1f600}",
  "\ud800",
  "",
  "interlock",
  "properties",
];

/** Another request near this one. `words`: texts that the pack knows, so that a change also meets its policies. */
export function mutated(random: Random, tree: Tree, words: readonly string[]): Tree {
  const count = containers(tree);
  if (count === 0) return tree;
  const at = { left: random.int(0, count - 1) };
  return changedAt(random, tree, words, at);
}

const containers = (tree: Tree): number =>
  tree instanceof Members
    ? 1 + tree.list.reduce((sum, [, value]) => sum + containers(value), 0)
    : Array.isArray(tree)
      ? 1 + (tree as readonly Tree[]).reduce<number>((sum, value) => sum + containers(value), 0)
      : 0;

/** Walks in one order, so that a number names one container. */
function changedAt(random: Random, tree: Tree, words: readonly string[], at: { left: number }): Tree {
  if (tree instanceof Members) {
    if (at.left-- === 0) return changedMembers(random, tree, words);
    return new Members(tree.list.map(([name, value]) => [name, changedAt(random, value, words, at)] as const));
  }
  if (!Array.isArray(tree)) return tree;
  const items = tree as readonly Tree[];
  if (at.left-- === 0) {
    const item = value(random, words);
    if (items.length === 0 || random.chance(0.3)) return [...items, item];
    const place = random.int(0, items.length - 1);
    return random.chance(0.3) ? items.filter((_, i) => i !== place) : items.map((old, i) => (i === place ? item : old));
  }
  return items.map((item) => changedAt(random, item, words, at));
}

function changedMembers(random: Random, { list }: Members, words: readonly string[]): Members {
  const place = list.length === 0 ? -1 : random.int(0, list.length - 1);
  const what = list.length === 0 ? 1 : random.next();
  if (what < 0.08) return new Members(list.filter((_, i) => i !== place));
  // The same name twice, maybe spelled otherwise: what it says then is nobody's to guess.
  if (what < 0.14) return new Members([...list, [list[place]![0], value(random, words)]]);
  if (what < 0.18)
    return new Members(list.map((member, i) => (i === place ? [random.pick(NAMES), member[1]] : member)));
  if (what < 0.8) return new Members(list.map(([name, old], i) => [name, i === place ? value(random, words) : old]));
  return new Members([...list, [random.pick(NAMES), value(random, words)]]);
}

function value(random: Random, words: readonly string[]): Tree {
  const what = random.next();
  if (what < 0.4) return random.pick(words);
  if (what < 0.6) return random.pick(TEXTS);
  if (what < 0.8) {
    const number = random.pick(NUMBERS);
    return typeof number === "string" ? new Raw(number) : number;
  }
  if (what < 0.85) return random.chance(0.5);
  if (what < 0.9) return null;
  if (what < 0.93) return nested(random, random.int(26, 34));
  if (what < 0.97) return new Members([[random.pick(NAMES), random.pick(words)]]);
  return [random.pick(words), random.int(-5, 1_000)];
}

/** About as deep as the door lets in. */
function nested(random: Random, depth: number): Tree {
  let tree: Tree = random.int(0, 9);
  for (let i = 0; i < depth; i++) tree = random.chance(0.5) ? [tree] : new Members([["a", tree]]);
  return tree;
}

/** Bytes of a text that was damaged on its way, so often that they are no JSON or no UTF-8 any more. */
export function damaged(random: Random, bytes: Uint8Array): Uint8Array {
  const at = random.int(0, bytes.length - 1);
  const [before, after] = [bytes.subarray(0, at), bytes.subarray(at)];
  const junk = random.pick([
    [random.int(0, 255)],
    [0xc0, 0xaf],
    [0xed, 0xa0, 0x80],
    [0xf4, 0x90, 0x80, 0x80],
    [0xef, 0xbb, 0xbf],
    [0x00],
    [0x5c, 0x75, 0x64, 0x38, 0x30, 0x30],
    [0x22],
    [0x2c],
    [0xff],
    [0xe2, 0x82],
  ]);
  const rest = random.chance(0.5) ? after : after.subarray(Math.min(after.length, random.int(1, 3)));
  return Uint8Array.from([...before, ...junk, ...rest]);
}
