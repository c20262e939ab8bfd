import { digestOf } from "../../src/base/digest.ts";
import { jcs } from "../../src/base/jcs.ts";
import type { RunState } from "../../src/vocabulary/types.ts";
import { nodeSha256 } from "../platform.ts";

export type DescribedRun = { readonly text: string; readonly digest: string };

const UNKNOWN: DescribedRun = { text: "null", digest: digestOf("null", nodeSha256) };
const implicit = new Map<number, DescribedRun>();

/**
 * Canonical text and digest of a run's state as a decision sees it. The id of an implicit run is left out: it is
 * random and bears on nothing, and with it the same question would never give the same core twice (G6).
 */
export function describeRunState(state: RunState | null): DescribedRun {
  if (state === null) return UNKNOWN;
  if (state.kind === "opened" || state.guest !== undefined) return describe(state);
  // Implicit runs of one length look the same; a batch has at most 1,000 steps, so this map stays small.
  let described = implicit.get(state.version);
  if (described === undefined) {
    described = describe(state);
    if (implicit.size < 2_048) implicit.set(state.version, described);
  }
  return described;
}

function describe({ guest, id, kind, members, status, step, version }: RunState): DescribedRun {
  const state = {
    ...(guest === undefined ? {} : { guest }),
    ...(kind === "opened" ? { id } : {}),
    kind,
    members,
    status,
  };
  const text =
    step === undefined && guest === undefined
      ? JSON.stringify({ ...state, version })
      : jcs({ ...state, ...(step === undefined ? {} : { step }), version });
  return { text, digest: digestOf(text, nodeSha256) };
}
