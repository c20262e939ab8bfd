import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { runCedarConformance } from "../../tools/conformance/cedar.ts";

const archive = join(
  process.env.INTERLOCK_VECTORS ?? resolve(import.meta.dirname, "../../../shared/vectors"),
  "cedar-conformance.tar.gz",
);

test("decides every request of the public Cedar corpus like the reference", { timeout: 300_000 }, async (context) => {
  if (!existsSync(archive)) context.skip(`no ${archive}; set INTERLOCK_VECTORS to the folder that holds it`);
  const dir = mkdtempSync(join(tmpdir(), "interlock-cedar-"));
  try {
    execFileSync("tar", ["-xzf", archive, "-C", dir]);
    const { total, passed, failures } = await runCedarConformance(join(dir, "cedar"));
    expect(failures.slice(0, 20)).toEqual([]);
    expect(passed).toBe(total);
    expect(total).toBeGreaterThan(15_000);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
