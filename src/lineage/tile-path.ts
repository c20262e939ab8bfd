import { fromDecimal } from "./text.ts";

/**
 * Names of tiles (C2SP tlog-tiles v0.1.0): `tile/<level>/<index>[.p/<width>]` for hashes and
 * `tile/entries/<index>[.p/<width>]` for entries. One tile has one name; another spelling is no name.
 */

/** Hashes, or entries, in a full tile. */
export const TILE_WIDTH = 256;

export type HashTile = {
  /** 0 holds leaf hashes; a hash at level l covers 256^l leaves. */
  readonly level: number;
  readonly index: number;
  /** 256, or 1 to 255 for a partial tile on the right edge. */
  readonly width: number;
};

/** A bundle of log entries, beside the hash tile of level 0 with the same index. */
export type EntryBundle = { readonly index: number; readonly width: number };

export type TileName = ({ readonly kind: "hashes" } & HashTile) | ({ readonly kind: "entries" } & EntryBundle);

export const tilePath = ({ level, index, width }: HashTile): string => `tile/${level}/${placePath(index, width)}`;
export const bundlePath = ({ index, width }: EntryBundle): string => `tile/entries/${placePath(index, width)}`;

/** Zero-padded groups of three digits, each but the last after an `x`. */
function placePath(index: number, width: number): string {
  if (!Number.isSafeInteger(index) || index < 0) throw new RangeError(`no tile ${index}`);
  if (!Number.isInteger(width) || width < 1 || width > TILE_WIDTH) throw new RangeError(`no tile of width ${width}`);
  const digits = String(index);
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, "0").match(/.{3}/g)!;
  const path = groups.map((group, at) => (at < groups.length - 1 ? `x${group}` : group)).join("/");
  return width === TILE_WIDTH ? path : `${path}.p/${width}`;
}

/** The tile that `path` (from `tile/` on) names; `null` for another spelling. */
export function parseTilePath(path: string): TileName | null {
  const match =
    /^tile\/(entries|[0-9]|[1-5][0-9]|6[0-3])\/((?:x[0-9]{3}\/){0,5}[0-9]{3})(?:\.p\/([1-9][0-9]{0,2}))?$/.exec(path);
  if (match === null) return null;
  const digits = match[2]!.replaceAll(/[x/]/g, "");
  const index = fromDecimal(digits.replace(/^0+(?=.)/, ""));
  const width = match[3] === undefined ? TILE_WIDTH : Number(match[3]);
  if (index === null || (match[3] !== undefined && width >= TILE_WIDTH)) return null;
  const name: TileName =
    match[1] === "entries"
      ? { kind: "entries", index, width }
      : { kind: "hashes", level: Number(match[1]), index, width };
  // A group of zeros in front would be a second name of the same tile.
  return (name.kind === "entries" ? bundlePath(name) : tilePath(name)) === path ? name : null;
}
