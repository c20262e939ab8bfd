/**
 * A reader for JSON texts with an escape in a member name, which `JSON.parse` of some V8 versions gets wrong: after
 * it has once seen `{"a":1,"\\":2}` it reads the name in `{"a":1,"\u00e9":2}` as a backslash, because it compares an
 * expected name with the raw text (nodejs/node#63785; V8 13.6 of Node 24 and 14.6 of Node 26). One caller's document
 * would so decide how another's is read. Only objects are affected, not strings: this reader builds the objects and
 * leaves the scalars to `JSON.parse`. Such documents are rare, so it is plain rather than fast.
 */

/** Offset of the closing quote of the string that opens at `open`; the end of the text where there is none. */
export function endOfString(text: string, open: number): number {
  for (let close = text.indexOf('"', open + 1); close !== -1; close = text.indexOf('"', close + 1)) {
    let backslashes = 0;
    while (text.charCodeAt(close - 1 - backslashes) === 0x5c) backslashes++;
    if (backslashes % 2 === 0) return close;
  }
  return text.length;
}

/**
 * The value of the JSON `text`, like `JSON.parse`. Recursive: the caller bounds the depth first.
 *
 * @throws SyntaxError where `text` is not JSON.
 */
export function parseEscapedNames(text: string): unknown {
  const reader = new Reader(text);
  const value = reader.value();
  reader.end();
  return value;
}

const SPACE = /[ \t\n\r]*/y;
const SCALAR = /[-+.0-9A-Za-z]+/y;

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(): unknown {
    this.#match(SPACE);
    switch (this.#text.charAt(this.#at)) {
      case "{":
        return this.#object();
      case "[":
        return this.#array();
      case '"':
        return this.#string();
      default:
        return JSON.parse(this.#match(SCALAR));
    }
  }

  end(): void {
    this.#match(SPACE);
    if (this.#at !== this.#text.length) this.#fail();
  }

  /** `Object.fromEntries` defines, where an assignment to `__proto__` would set the prototype. */
  #object(): unknown {
    const members: (readonly [string, unknown])[] = [];
    this.#list("}", () => {
      this.#match(SPACE);
      const name = this.#string();
      if (!this.#take(":")) this.#fail();
      members.push([name, this.value()]);
    });
    return Object.fromEntries(members);
  }

  #array(): unknown {
    const items: unknown[] = [];
    this.#list("]", () => items.push(this.value()));
    return items;
  }

  #list(close: string, item: () => void): void {
    this.#at++;
    if (this.#take(close)) return;
    do item();
    while (this.#take(","));
    if (!this.#take(close)) this.#fail();
  }

  #string(): string {
    const end = endOfString(this.#text, this.#at) + 1;
    const value: unknown = JSON.parse(this.#text.slice(this.#at, end));
    if (typeof value !== "string") return this.#fail();
    this.#at = end;
    return value;
  }

  #take(token: string): boolean {
    this.#match(SPACE);
    if (this.#text.charAt(this.#at) !== token) return false;
    this.#at++;
    return true;
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0] ?? "";
    this.#at += found.length;
    return found;
  }

  #fail(): never {
    throw new SyntaxError(`unexpected text at position ${this.#at}`);
  }
}
