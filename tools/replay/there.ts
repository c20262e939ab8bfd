import { setTimeout as sleep } from "node:timers/promises";
import type { ReplayView } from "../../src/objects/replay.ts";
import { Problem } from "../problem.ts";
import type { AdminClient } from "../region/admin-client.ts";
import { isNothing } from "../../src/replay/tally.ts";
import { nothingText } from "./replay.ts";

const LOOK_MS = 500;

/** `interlock replay --there`: has the region decide its records again itself, and waits until it has. */
export async function replayThere(
  client: AdminClient,
  order: { readonly since?: string; readonly reason: string },
  progress: (view: ReplayView) => void,
): Promise<ReplayView> {
  let view = await client.startReplay(order);
  const { id } = view;
  while (view.state === "running") {
    progress(view);
    await sleep(LOOK_MS);
    view = await client.replay();
    // One that begins when this one is over takes its place.
    if (view.id !== id)
      throw new Problem(`Before replay ${id} was seen to end, another replay was ordered`, "Order it again.");
  }
  return view;
}

export function thereText({ region, verdict, looked, counts, shards }: ReplayView): string {
  // A shard that does not answer makes it incomplete; that is another word.
  if (verdict === "identical" && isNothing(Object.keys(counts))) return nothingText(looked);
  const words = Object.entries(counts).sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
  return [
    `${(verdict ?? "running").toUpperCase()}  ${looked} records, decided again by ${region} itself`,
    ...words.map(([word, n]) => `  ${String(n).padStart(8)}  ${word.replace(" ", ": ")}`),
    ...shards.flatMap((shard) =>
      shard.state !== "silent" && shard.first_different !== null
        ? [`  first in shard ${shard.shard}: record ${shard.first_different.sseq}, ${shard.first_different.reason}`]
        : [],
    ),
  ].join("\n");
}
