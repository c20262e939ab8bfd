import { existsSync, readFileSync } from "node:fs";
import { sha256 } from "../../src/base/digest.ts";
import { parsePolicy, type TlogPolicy } from "../../src/lineage/tlog-policy.ts";
import { Problem } from "../problem.ts";

/** The tlog-policy in a file. One that cannot be read is wrong usage: nothing is verified without it. */
export function readTrust(path: string): TlogPolicy {
  if (!existsSync(path)) throw new Problem(`There is no policy ${path}`, "Check the path.", 2);
  const policy = parsePolicy(readFileSync(path), sha256);
  if (!policy.ok)
    throw new Problem(`${path}, line ${policy.error.line}: ${policy.error.message}`, "Correct the policy file.", 2);
  return policy.value;
}
