import { base64url } from "../../src/base/bytes.ts";
import { sha256 } from "../../src/base/digest.ts";
import { jcs } from "../../src/base/jcs.ts";
import type { DecideMessage } from "../../src/objects/decide.ts";
import { guestRunId } from "../../src/runs/guest.ts";
import type { PassFacts } from "../../src/vocabulary/run.ts";
import { ask, factsOf, named, read1 } from "./region.ts";
import { newId } from "./run-steps.ts";

/**
 * A step under a pass of this very region, since nothing is heard of another one here; the shard takes the word of the
 * Worker for it. `more`: other facts beside the pass.
 */
export async function guestStep(
  resource: string,
  more: object = {},
  over: Partial<PassFacts> = {},
): Promise<{ readonly pass: string; readonly message: DecideMessage }> {
  const pass: PassFacts = {
    id: newId(),
    home: "eu",
    run: base64url(crypto.getRandomValues(new Uint8Array(32))),
    node: "quote",
    subject: named("subject:user/alice"),
    action: "read",
    resource: null,
    labels: [],
    parents: [],
    dependencies: [],
    ancestors: [],
    homes: [],
    keys: [],
    expires_ms: Date.now() + 60_000,
    digest: "sha256:x",
    ...over,
  };
  const facts = jcs({ ...(JSON.parse(await factsOf()) as object), ...more, pass });
  const message = await ask([{ ...read1, resource: { type: "record", id: resource } }]);
  const run = guestRunId("eu", 1, pass, sha256);
  const items = message.items.map((item) => ({ ...item, run, facts }));
  return { pass: pass.id, message: { ...message, items, implicit_run: run } };
}
