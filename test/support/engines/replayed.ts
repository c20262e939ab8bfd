import bundleJson from "../../../policies/bundle.json" with { type: "json" };
import { sha256 } from "../../../src/base/digest.ts";
import type { JsonObject } from "../../../src/base/json.ts";
import type { Bundle } from "../../../src/policy/bundle.ts";
import { policiesOf } from "../../../src/replay/policies.ts";
import { recordedOfItem } from "../../../src/replay/recorded.ts";
import { replay } from "../../../src/replay/replay.ts";
import { wordOf } from "../../../src/replay/tally.ts";

/** What becomes of records, one word each, as `interlock lineage search --payload --json` writes them. */
export function replayed(items: readonly JsonObject[]): readonly string[] {
  const ports = { sha: sha256, policy: policiesOf([bundleJson as unknown as Bundle]) };
  return items.map((item) => {
    const recorded = recordedOfItem(item);
    return recorded === null ? "no record" : wordOf(replay(recorded, ports));
  });
}
