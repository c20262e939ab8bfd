import { fromBase64url } from "../base/bytes.ts";
import type { Sha256 } from "../base/digest.ts";
import type { Evidence } from "./evidence.ts";
import type { ChainSummary } from "./evidence-chain.ts";
import type { Problems } from "./evidence-report.ts";
import { saltedRunHash } from "./record.ts";

/** Holds the run's name, where the bundle tells it, against the hash in its records. */
export function checkRunName(
  { run }: Evidence,
  { first }: ChainSummary,
  asked: string | null,
  problems: Problems,
  sha: Sha256,
): void {
  const place = { where: "run" };
  const hash = first?.record?.run ?? null;
  // The salt's form was checked when the bundle was read.
  if (run !== null && hash !== null && saltedRunHash(fromBase64url(run.salt)!, run.id, sha) !== hash)
    problems.add("run_mismatch", place, "id", "and its salt do not have the run hash of the records");
  if (asked === null || run?.id === asked) return;
  const what = run === null ? "is not told" : `is ${run.id}`;
  problems.add("other_run", place, "id", `${what}, asked for was ${asked}`);
}
