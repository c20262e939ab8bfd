import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { exportJWK, generateKeyPair } from "jose";
import { defineConfig } from "vitest/config";
import { COMPATIBILITY_DATE, COMPATIBILITY_FLAGS } from "./tools/workerd/config.ts";

/**
 * Layers (PLATFORM, "Testing"): pure rooms in Node, objects inside workerd, and whole regions on raw workerd. Keys are
 * made here, per run.
 */
const node = (name: string, timeout: number) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout: timeout,
    hookTimeout: timeout,
  },
});

const root = await generateKeyPair("Ed25519", { extractable: true });
const rootJwk = { ...(await exportJWK(root.privateKey)), kid: "root-1", alg: "Ed25519" };
const { d: _, ...publicRoot } = rootJwk;

const objects = {
  plugins: [
    cloudflareTest({
      main: "./test/objects/worker.ts",
      miniflare: {
        compatibilityDate: COMPATIBILITY_DATE,
        compatibilityFlags: [...COMPATIBILITY_FLAGS],
        durableObjects: {
          TRUST_AUTHORITY: { className: "TrustAuthority", useSQLite: true },
          LINEAGE_SHARD: { className: "LineageShard", useSQLite: true },
          REGION_LOG: { className: "RegionLog", useSQLite: true },
          WITNESS: { className: "Witness", useSQLite: true },
        },
        bindings: {
          INTERLOCK_REGION: "eu",
          INTERLOCK_PDP: "https://eu.pdp.example",
          INTERLOCK_LOG_EPOCH: "1",
          INTERLOCK_SHARDS: "2",
          INTERLOCK_JURISDICTION: "",
          INTERLOCK_PACKS: "sovereign,authzen-certification,treasury",
          INTERLOCK_OPEN: "",
          INTERLOCK_ROOTS: JSON.stringify({ threshold: 1, keys: [publicRoot] }),
          INTERLOCK_ADMIN_JWKS: '{"keys":[]}',
          INTERLOCK_REGION_KEY: "",
          INTERLOCK_FEDERATION_SECRETS: "",
          INTERLOCK_RETENTION_DAYS: "30",
          TEST_ROOT: JSON.stringify(rootJwk),
        },
      },
    }),
  ],
  test: { name: "objects", include: ["test/objects/**/*.test.ts"], testTimeout: 120_000, hookTimeout: 120_000 },
};

export default defineConfig({
  test: {
    projects: [
      // Some try every combination; under a load of ten that takes its time.
      node("unit", 120_000),
      node("sim", 300_000),
      objects,
      node("conformance", 300_000),
      node("fleet", 300_000),
      node("host", 300_000),
    ],
    maxWorkers: 2,
  },
});
