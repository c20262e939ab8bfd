import type { Sha256 } from "../../src/base/digest.ts";
import type { OpenedPayload } from "../../src/lineage/seal.ts";
import type { LoadedPolicy } from "../../src/policy/load.ts";
import { recordedOf } from "../../src/replay/recorded.ts";
import { replay, type Replayed } from "../../src/replay/replay.ts";
import type { RecordRow } from "./store.ts";

export type DecideAgainPorts = {
  readonly sha: Sha256;
  readonly open: (row: RecordRow) => Promise<OpenedPayload | "erased" | "unreadable">;
  readonly named: (digest: string) => LoadedPolicy | null;
  /** Fetches a policy of before from the authority, so that `named` has it, where there is one. */
  readonly fetch: (digest: string) => Promise<void>;
};

/** Decides one of a shard's records again, from what it sealed, under the policy that decided it. */
export async function decideRowAgain(row: RecordRow, { sha, open, named, fetch }: DecideAgainPorts): Promise<Replayed> {
  const recorded = recordedOf(row, await open(row));
  let missing: string | null = null;
  const policy = (digest: string): LoadedPolicy | null => {
    const found = named(digest);
    if (found === null) missing = digest;
    return found;
  };
  const found = replay(recorded, { sha, policy });
  if (missing === null) return found;
  await fetch(missing);
  return replay(recorded, { sha, policy: named });
}
