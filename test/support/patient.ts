import { patiently } from "./http.ts";

/** Calls again until the answer is about the question. `call` makes the request anew, with its proofs. */
export const patient = <T extends { readonly verdict: string }>(call: () => Promise<T>): Promise<T> =>
  patiently(call, ({ verdict }) => verdict);
