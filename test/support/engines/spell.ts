import type { Random } from "../random.ts";

/** A token that is written as it stands: a spelling that no value has. */
export class Raw {
  readonly token: string;
  constructor(token: string) {
    this.token = token;
  }
}

export type Tree = null | boolean | number | string | Raw | readonly Tree[] | Members;
/** Members as a list, so that a name may stand there twice, and `__proto__` is a name. */
export class Members {
  readonly list: readonly (readonly [string, Tree])[];
  constructor(list: readonly (readonly [string, Tree])[]) {
    this.list = list;
  }
}

export function treeOf(json: unknown): Tree {
  if (Array.isArray(json)) return json.map(treeOf);
  if (typeof json !== "object" || json === null) return json as Tree;
  return new Members(Object.entries(json).map(([name, value]) => [name, treeOf(value)]));
}

/**
 * One of the many JSON texts of a value: members in any order, white space, escapes, numbers in other spellings, and
 * members that are null, which means that they are absent.
 */
export function spell(random: Random, tree: Tree): string {
  const space = (): string => (random.chance(0.1) ? random.pick([" ", "\n", "\t", "\r\n", "  "]) : "");
  const write = (value: Tree): string => `${space()}${bare(value)}${space()}`;
  const bare = (value: Tree): string => {
    if (value instanceof Raw) return value.token;
    if (typeof value === "string") return spellString(random, value);
    if (typeof value === "number") return spellNumber(random, value);
    if (value instanceof Members) {
      const list = shuffled(random, value.list).map(
        ([name, member]) => `${space()}${spellString(random, name)}${space()}:${write(member)}`,
      );
      return `{${list.join(",")}${list.length === 0 ? space() : ""}}`;
    }
    if (typeof value === "boolean") return value ? "true" : "false";
    return value === null ? "null" : `[${value.map(write).join(",")}]`;
  };
  return write(tree);
}

function shuffled<T>(random: Random, list: readonly T[]): readonly T[] {
  const out = [...list];
  for (let i = out.length - 1; i > 0; i--) {
    const j = random.int(0, i);
    [out[i], out[j]] = [out[j]!, out[i]!];
  }
  return out;
}

const SHORT: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "/": "\\/",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};

function spellString(random: Random, text: string): string {
  const often = random.chance(0.2) ? 0.3 : 0.01;
  let out = '"';
  for (const character of text) {
    const code = character.charCodeAt(0);
    const alone = character.length === 1 && code >= 0xd800 && code <= 0xdfff;
    const must = code < 0x20 || character === '"' || character === "\\" || alone;
    const short = SHORT[character];
    if (!must && !random.chance(often)) out += character;
    else if (short !== undefined && random.chance(0.5)) out += short;
    else for (let i = 0; i < character.length; i++) out += unicodeEscape(random, character.charCodeAt(i));
  }
  return `${out}"`;
}

function unicodeEscape(random: Random, unit: number): string {
  const hex = unit.toString(16).padStart(4, "0");
  return `\\u${random.chance(0.5) ? hex.toUpperCase() : hex}`;
}

/** Spellings of the same double, made of its digits and never by arithmetic. */
function spellNumber(random: Random, value: number): string {
  const text = String(value);
  if (random.chance(0.6) || text.includes("e")) return text;
  if (value === 0) return random.pick(["0", "-0", "0.0", "-0.0e5", "0e9", "0E-0"]);
  const [whole = "", fraction = ""] = text.split(".");
  if (fraction === "")
    return random.pick([`${text}.0`, `${text}e0`, `${text}E+00`, `${text}0e-1`, `${text}.000`, `${text}000E-3`]);
  const digits = `${whole}${fraction}`.replace(/^(-?)0+(?=\d)/, "$1");
  return random.pick([
    `${text}0`,
    `${text}00e0`,
    `${digits}e-${fraction.length}`,
    `${digits}0E-${fraction.length + 1}`,
  ]);
}
