import { join } from "node:path";
import { expect, test } from "vitest";
import { unstable_readConfig, type Unstable_Config } from "wrangler";
import { COMPATIBILITY_DATE, COMPATIBILITY_FLAGS, OBJECTS, SECRETS } from "../../../tools/workerd/config.ts";
import { readRegion, type RegionVars } from "../../../src/region/config.ts";
import { ROOT } from "./source-files.ts";

const REGIONS = ["eu", "us", "ap"];
const configOf = (env: string): Unstable_Config => unstable_readConfig({ config: join(ROOT, "wrangler.toml"), env });

/** Everything that a region's code can see, by name; values are each region's own. */
function bindingsOf(config: Unstable_Config): Record<string, unknown> {
  return {
    vars: Object.keys(config.vars).sort(),
    objects: config.durable_objects.bindings.map(({ name, class_name }) => `${name}=${class_name}`).sort(),
    secrets: config.secrets?.required,
    migrations: config.migrations,
    compatibility: [config.compatibility_date, config.compatibility_flags],
    main: config.main,
    others: [config.kv_namespaces, config.r2_buckets, config.d1_databases, config.services, config.queues.producers],
  };
}

test.each(REGIONS)("%s has the same bindings as eu", (region) => {
  expect(bindingsOf(configOf(region))).toEqual(bindingsOf(configOf("eu")));
});

test.each(REGIONS)("the configuration of %s is one that the Worker accepts", (name) => {
  const config = configOf(name);
  const region = readRegion(config.vars as unknown as RegionVars);
  expect(region).toMatchObject({ ok: true, value: { name, open: false } });
  expect(config.name).toBe(`interlock-${name}`);
});

test("a name is used by one region only", () => {
  const pdps = REGIONS.map((region) => configOf(region).vars["INTERLOCK_PDP"]);
  expect(new Set(pdps).size).toBe(REGIONS.length);
});

test("raw workerd has the same objects and the same compatibility date and flags as Cloudflare", () => {
  const config = configOf("eu");
  expect(config.durable_objects.bindings.map(({ name, class_name }) => [name, class_name])).toEqual(
    OBJECTS.map(({ binding, className }) => [binding, className]),
  );
  expect(config.compatibility_date).toBe(COMPATIBILITY_DATE);
  expect(config.compatibility_flags).toEqual(COMPATIBILITY_FLAGS);
  expect(config.secrets?.required).toEqual(SECRETS);
});
