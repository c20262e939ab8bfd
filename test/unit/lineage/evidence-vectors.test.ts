import { format } from "prettier";
import { expect, test } from "vitest";
import { base64url } from "../../../src/base/bytes.ts";
import { encodeEvidence } from "../../../src/lineage/evidence.ts";
import { treeHash } from "../../../src/lineage/merkle.ts";
import { multiProofRanges } from "../../../src/lineage/multi-proof.ts";
import { formatPolicy } from "../../../src/lineage/tlog-policy.ts";
import { verifyEvidence } from "../../../src/lineage/verify-evidence.ts";
import { sha } from "./build.ts";
import { bundleOf, deps, POLICY, TestLog } from "./evidence-build.ts";
import { entryOf, leavesOf } from "./log-build.ts";

/** Vectors for readers in other languages. A change of the format shows here; `vitest -u` writes them. */
test("docs/vectors/evidence.json is what this code makes", async () => {
  const leaves = leavesOf(13);
  const proofs = [
    [1, [0]],
    [2, [1]],
    [7, [0, 3, 6]],
    [8, [2, 3]],
    [13, [12]],
    [13, [0, 1, 5, 11, 12]],
    [13, [...leaves.keys()]],
  ] as const;
  const log = new TestLog("vectors");
  const open = log.step(1, { kind: "run.open", decision: null });
  log.step(2);
  const allow = log.step(1);
  log.other();
  log.step(1, { kind: "withheld", decision: "deny", refers: allow.hash });
  log.erase([open]);
  log.head(1);
  log.other();
  const bundle = encodeEvidence(await bundleOf(log, 1));
  const vectors = {
    multi_proof: {
      entries: leaves.map((_, index) => Buffer.from(entryOf(index)).toString("utf8")),
      cases: proofs.map(([size, indexes]) => ({
        size,
        indexes,
        proof: multiProofRanges(indexes, size).map(([start, end]) =>
          base64url(treeHash(leaves.slice(start, end), sha)),
        ),
        root: base64url(treeHash(leaves.slice(0, size), sha)),
      })),
    },
    policy: formatPolicy(POLICY),
    bundle,
    report: await verifyEvidence(bundle, POLICY, deps),
  };
  expect(vectors.report.status).toBe("verified");
  const text = await format(JSON.stringify(vectors), { parser: "json", printWidth: 120 });
  await expect(text).toMatchFileSnapshot("../../../docs/vectors/evidence.json");
});
