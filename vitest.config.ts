import { defineConfig } from "vitest/config";

/** Three layers (PLATFORM, "Testing"): pure rooms in Node, objects inside workerd, and whole regions on raw workerd. */
const node = (name: string, timeout = 30_000) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout: timeout,
    hookTimeout: timeout,
  },
});

export default defineConfig({
  test: {
    projects: [node("unit"), node("conformance", 300_000), node("fleet", 120_000), node("host", 300_000)],
    maxWorkers: 2,
  },
});
