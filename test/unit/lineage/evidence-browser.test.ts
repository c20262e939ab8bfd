import { runInNewContext } from "node:vm";
import { build } from "esbuild";
import { expect, test } from "vitest";
import { encodeEvidence } from "../../../src/lineage/evidence.ts";
import type { EvidenceReport } from "../../../src/lineage/evidence-report.ts";
import { formatPolicy } from "../../../src/lineage/tlog-policy.ts";
import type * as Verifier from "../../../src/lineage/verifier.ts";
import { bundleOf, POLICY, randomLog, verify } from "./evidence-build.ts";

/** The verifier as a page would load it: one script, no import left, nothing of Node. */
async function script(): Promise<string> {
  const { outputFiles, metafile } = await build({
    entryPoints: ["src/lineage/verifier.ts"],
    bundle: true,
    platform: "neutral",
    mainFields: ["module", "main"],
    format: "iife",
    globalName: "interlock",
    minify: true,
    metafile: true,
    write: false,
    logLevel: "silent",
  });
  expect(Object.values(metafile.outputs).flatMap(({ imports }) => imports)).toEqual([]);
  expect(
    Object.keys(metafile.inputs).filter((path) => !/^(?:src\/(?:base|lineage)|node_modules)\//.test(path)),
  ).toEqual([]);
  return outputFiles[0]!.text;
}

test("the verifier bundles for a browser and verifies there", async () => {
  const text = await script();
  expect(text.length).toBeLessThan(56 * 1_024);
  const context = { TextEncoder, TextDecoder, interlock: {} as typeof Verifier };
  runInNewContext(`${text};globalThis.interlock = interlock`, context);
  const { parsePolicy, sha256, verifyEvidence } = context.interlock;
  const policy = parsePolicy(formatPolicy(POLICY), sha256);
  if (!policy.ok) throw new Error(policy.error.message);
  const bundle = encodeEvidence(await bundleOf(randomLog(7), 1));
  const check = (source: string): Promise<EvidenceReport> =>
    verifyEvidence(source, policy.value, { sha: sha256, verify });
  expect((await check(bundle)).status).toBe("verified");
  expect((await check(bundle.replace('"last_seq":', '"last_seq":1'))).status).toBe("failed");
});

test("with WebCrypto for Ed25519", async () => {
  const { verifyEvidence, sha256 } = await import("../../../src/lineage/verifier.ts");
  const ed25519: Verifier.Verify = async (raw, message, signature) => {
    const key = await crypto.subtle.importKey("raw", new Uint8Array(raw), "Ed25519", false, ["verify"]);
    return crypto.subtle.verify("Ed25519", key, new Uint8Array(signature), new Uint8Array(message));
  };
  const bundle = encodeEvidence(await bundleOf(randomLog(8), 2));
  expect((await verifyEvidence(bundle, POLICY, { sha: sha256, verify: ed25519 })).status).toBe("verified");
});
