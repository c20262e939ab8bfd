/** The known word that is nearest, where one is near enough to be meant. */
export function nearest(word: string, known: Iterable<string>): string | null {
  const most = Math.max(1, Math.min(3, Math.floor(word.length / 3)));
  let best: string | null = null;
  let least = most + 1;
  for (const one of known) {
    const far = distance(word, one);
    if (far > 0 && far < least) [best, least] = [one, far];
  }
  return best;
}

/** `" (did you mean `x`?)"`, or nothing. */
export function meant(word: string, known: Iterable<string>): string {
  const near = nearest(word, known);
  return near === null ? "" : ` (did you mean \`${near}\`?)`;
}

/** Letters put in, left out, replaced, or two of them swapped: for words of a few dozen letters. */
function distance(a: string, b: string): number {
  let [last, row] = [[] as number[], Array.from({ length: b.length + 1 }, (_, at) => at)];
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) {
      const swapped = i > 0 && j > 0 && a[i] === b[j - 1] && a[i - 1] === b[j] ? last[j - 1]! + 1 : Infinity;
      next.push(Math.min(row[j]! + (a[i] === b[j] ? 0 : 1), row[j + 1]! + 1, next[j]! + 1, swapped));
    }
    [last, row] = [row, next];
  }
  return row[b.length]!;
}
