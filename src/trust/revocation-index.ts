/**
 * Which canonical keys have any trust entry at all: an open-addressed table of 16-byte tokens. A decision asks it
 * about each of its keys; only a hit goes on to storage for the entry itself. One million tokens take 32 MiB at the
 * highest load factor, where a `Set` of strings takes 92 MB of the isolate's 128 (DESIGN section 5).
 *
 * Nothing is ever removed: a restored key keeps its entry, with a higher generation, so a stale index can only cause
 * a look-up and never hide a revocation.
 */
export class RevocationIndex {
  #slots: Uint32Array;
  #mask: number;
  #size = 0;

  constructor(expected = 1_024) {
    let capacity = 16;
    while (capacity * 3 < expected * 4) capacity *= 2;
    this.#slots = new Uint32Array(capacity * 4);
    this.#mask = capacity - 1;
  }

  get size(): number {
    return this.#size;
  }

  /** `token`: the first 16 bytes of a hash of the key; adding it twice changes nothing. */
  add(token: Uint8Array): void {
    // Three quarters full at most: linear probing stays short.
    if ((this.#size + 1) * 4 > (this.#mask + 1) * 3) this.#grow();
    if (insert(this.#slots, this.#mask, word(token, 0), word(token, 4), word(token, 8), word(token, 12))) this.#size++;
  }

  has(token: Uint8Array): boolean {
    const slots = this.#slots;
    const a = word(token, 0);
    const b = word(token, 4);
    const c = word(token, 8);
    const d = word(token, 12);
    for (let slot = a & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const at = slot * 4;
      if (isEmpty(slots, at)) return false;
      if (slots[at] === a && slots[at + 1] === b && slots[at + 2] === c && slots[at + 3] === d) return true;
    }
  }

  #grow(): void {
    const old = this.#slots;
    const capacity = (this.#mask + 1) * 2;
    this.#slots = new Uint32Array(capacity * 4);
    this.#mask = capacity - 1;
    for (let at = 0; at < old.length; at += 4) {
      if (!isEmpty(old, at)) insert(this.#slots, this.#mask, old[at]!, old[at + 1]!, old[at + 2]!, old[at + 3]!);
    }
  }
}

const word = (bytes: Uint8Array, at: number): number =>
  ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;

// The all-zero token marks an empty slot; a hash is all zero with probability 2^-128.
const isEmpty = (slots: Uint32Array, at: number): boolean =>
  (slots[at]! | slots[at + 1]! | slots[at + 2]! | slots[at + 3]!) === 0;

function insert(slots: Uint32Array, mask: number, a: number, b: number, c: number, d: number): boolean {
  for (let slot = a & mask; ; slot = (slot + 1) & mask) {
    const at = slot * 4;
    if (isEmpty(slots, at)) {
      slots[at] = a;
      slots[at + 1] = b;
      slots[at + 2] = c;
      slots[at + 3] = d;
      return true;
    }
    if (slots[at] === a && slots[at + 1] === b && slots[at + 2] === c && slots[at + 3] === d) return false;
  }
}
