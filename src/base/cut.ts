/**
 * At most the first `length` code units; one less where that would halve a character. Half of one has no UTF-8, and no
 * JSON that is read here may hold it: a record with it could not be read again.
 */
export function cut(text: string, length: number): string {
  if (text.length <= length) return text;
  const last = text.charCodeAt(length - 1);
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? length - 1 : length);
}
