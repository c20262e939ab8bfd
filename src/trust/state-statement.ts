import { readSum, type StateSum } from "./state-digest.ts";

/** What a region holds of one origin's present incarnation, after that origin's event `seq`. */
export type StatedState = {
  readonly origin: string;
  readonly incarnation: number;
  readonly seq: number;
  /** Id of the federation secret under which the entries are named. */
  readonly secret: string;
  readonly count: number;
  /** `state-digest`, 43 base64url characters. */
  readonly sum: string;
};

/** Whoever applied the same events under the same names holds the same entries. */
export const isSamePosition = (a: StatedState, b: StatedState): boolean =>
  a.origin === b.origin && a.incarnation === b.incarnation && a.seq === b.seq && a.secret === b.secret;

export const sumIn = ({ count, sum }: StatedState): StateSum => ({ count, sum: readSum(sum) });
