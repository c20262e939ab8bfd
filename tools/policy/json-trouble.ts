export type Trouble = { readonly offset: number; readonly length: number; readonly message: string };

/**
 * Where JSON text stops being JSON (RFC 8259), or names a member twice: what `JSON.parse` does not say in the same way
 * for all errors. For text that was refused already; `null` where it is in order.
 */
export function jsonTrouble(text: string): Trouble | null {
  let at = 0;
  const expected = (what: string): never => {
    const rest = text.slice(at);
    const found = /^(?:"(?:[^"\\\n]|\\.)*"?|[\w.+-]+|.)/.exec(rest)?.[0] ?? "";
    const message = rest === "" ? `it ends where ${what} is expected` : `expected ${what}`;
    throw new Stop({ offset: at, length: Math.max(1, found.length), message });
  };
  const space = (): void => void (at += /^[ \t\r\n]*/.exec(text.slice(at))![0].length);
  const take = (pattern: RegExp): string | null => {
    const found = pattern.exec(text.slice(at))?.[0] ?? null;
    if (found !== null) at += found.length;
    return found;
  };
  const string = (): string | null => take(/^"(?:[^"\\\p{Cc}]|[\u007f-\u009f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/u);
  const comma = (close: string): boolean => {
    space();
    if (take(/^,/) === null) return false;
    space();
    if (text[at] === close) {
      at = text.lastIndexOf(",", at);
      throw new Stop({ offset: at, length: 1, message: `a comma with nothing after it` });
    }
    return true;
  };
  const object = (): void => {
    const names = new Set<string>();
    space();
    if (take(/^\}/) !== null) return;
    do {
      space();
      const begin = at;
      const name = string() ?? expected("the name of a member in double quotes");
      const length = at - begin;
      if (names.has(name))
        throw new Stop({ offset: begin, length, message: `${name} is in this object already (RFC 7493, 2.3)` });
      names.add(name);
      space();
      if (take(/^:/) === null) expected(`a colon after ${name}`);
      value();
    } while (comma("}"));
    if (take(/^\}/) === null) expected('"," or "}"');
  };
  const array = (): void => {
    space();
    if (take(/^\]/) !== null) return;
    do value();
    while (comma("]"));
    if (take(/^\]/) === null) expected('"," or "]"');
  };
  const value = (): void => {
    space();
    if (take(/^\{/) !== null) return object();
    if (take(/^\[/) !== null) return array();
    if (string() === null && take(/^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)\b/) === null)
      expected("a value");
  };
  try {
    value();
    space();
    if (at < text.length) expected("nothing more");
    return null;
  } catch (cause) {
    if (cause instanceof Stop) return cause.trouble;
    throw cause;
  }
}

class Stop extends Error {
  readonly trouble: Trouble;
  constructor(trouble: Trouble) {
    super(trouble.message);
    this.trouble = trouble;
  }
}
