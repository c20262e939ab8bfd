/**
 * A slow, obvious JSON reader to hold `parseJson` against: recursive descent straight from RFC 8259, which keeps a
 * list of the names of each object. Shares no code with the product.
 */
export type NaiveReading = { readonly problems: readonly string[]; readonly value: unknown };

class Malformed extends Error {}

export function readNaively(text: string, maxDepth: number): NaiveReading {
  const seen = new Set<string>();
  let at = 0;
  const fail = (): never => {
    throw new Malformed();
  };
  const space = (): void => {
    while (/^[ \t\n\r]$/.test(text.charAt(at))) at++;
  };
  const take = (token: string): boolean => {
    if (!text.startsWith(token, at)) return false;
    at += token.length;
    return true;
  };
  const string = (): string => {
    const match =
      /^"(?:[^"\\\p{Cc}]|[\u007f-\u009f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/u.exec(text.slice(at)) ?? fail();
    at += match[0].length;
    const value = JSON.parse(match[0]) as string;
    if (!value.isWellFormed()) seen.add("lone_surrogate");
    return value;
  };
  const list = (close: string, item: () => void): void => {
    space();
    if (take(close)) return;
    for (;;) {
      item();
      space();
      if (take(close)) return;
      if (!take(",")) fail();
    }
  };
  const value = (depth: number): unknown => {
    space();
    const first = text.charAt(at);
    if (first === '"') return string();
    if (take("{")) {
      if (depth > maxDepth) seen.add("too_deep");
      const names: string[] = [];
      const members: [string, unknown][] = [];
      list("}", () => {
        space();
        const name = string();
        if (names.includes(name)) seen.add("duplicate_member");
        names.push(name);
        space();
        if (!take(":")) fail();
        members.push([name, value(depth + 1)]);
      });
      return Object.fromEntries(members);
    }
    if (take("[")) {
      if (depth > maxDepth) seen.add("too_deep");
      const items: unknown[] = [];
      list("]", () => void items.push(value(depth + 1)));
      return items;
    }
    for (const [token, meaning] of [["true", true], ["false", false], ["null", null]] as const) if (take(token)) return meaning; // prettier-ignore
    const number = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/.exec(text.slice(at)) ?? fail();
    at += number[0].length;
    if (!Number.isFinite(Number(number[0]))) seen.add("malformed");
    return Number(number[0]);
  };
  try {
    const result = value(1);
    space();
    if (at !== text.length) fail();
    return { problems: [...seen], value: result };
  } catch (cause) {
    // A reader may stop at any fault of a text that has several.
    if (cause instanceof Malformed) return { problems: [...seen, "malformed"], value: null };
    throw cause;
  }
}
