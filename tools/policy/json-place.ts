/**
 * Where a member stands in JSON text that parses: the offset of its name, of an element that of its value. `path` may
 * lead further than the text does; the last place that is there counts.
 */
export function offsetOf(text: string, path: readonly PropertyKey[]): number {
  let at = skip(text, 0);
  let found = at;
  for (const step of path) {
    const next = typeof step === "number" ? elementAt(text, at, step) : memberAt(text, at, String(step));
    if (next === null) break;
    [found, at] = next;
  }
  return found;
}

/** How long what stands there is, on its line. */
export const wordAt = (text: string, path: readonly PropertyKey[]): number =>
  /^(?:"(?:[^"\\]|\\.)*"|[^\s,\]}]*)/.exec(text.slice(offsetOf(text, path)))![0].length;

const skip = (text: string, at: number): number => at + /^[\s,:]*/.exec(text.slice(at))![0].length;

/** Offsets of name and value. */
function memberAt(text: string, at: number, name: string): readonly [number, number] | null {
  if (text[at] !== "{") return null;
  for (let next = skip(text, at + 1); text[next] === '"';) {
    const end = endOfValue(text, next);
    const value = skip(text, end);
    if (JSON.parse(text.slice(next, end)) === name) return [next, value];
    next = skip(text, endOfValue(text, value));
  }
  return null;
}

function elementAt(text: string, at: number, index: number): readonly [number, number] | null {
  if (text[at] !== "[") return null;
  let next = skip(text, at + 1);
  for (let passed = 0; passed < index && text[next] !== "]"; passed++) next = skip(text, endOfValue(text, next));
  return text[next] === "]" ? null : [next, next];
}

function endOfValue(text: string, at: number): number {
  if (text[at] === '"') return at + /^"(?:[^"\\]|\\.)*"/s.exec(text.slice(at))![0].length;
  if (text[at] !== "{" && text[at] !== "[") return at + /^[^\s,\]}]*/.exec(text.slice(at))![0].length;
  let depth = 0;
  for (let next = at; next < text.length; next++) {
    const char = text[next];
    if (char === '"') next = endOfValue(text, next) - 1;
    else if (char === "{" || char === "[") depth++;
    else if ((char === "}" || char === "]") && --depth === 0) return next + 1;
  }
  return text.length;
}
