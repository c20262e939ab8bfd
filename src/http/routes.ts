import { ACCESS } from "./routes/access.ts";
import { ADMIN_KEYS } from "./routes/admin-keys.ts";
import { ADMIN_RECORD } from "./routes/admin-record.ts";
import { ADMIN_TRUST } from "./routes/admin-trust.ts";
import { LINEAGE } from "./routes/lineage.ts";
import { PUBLIC } from "./routes/public.ts";
import { RUNS } from "./routes/runs.ts";
import { SYNC } from "./routes/sync.ts";
export type { Route } from "./routes/route.ts";

/**
 * Every route, once: the routers are mounted from this table, `/openapi.json` is generated from it, and
 * `test/unit/docs/routes.test.ts` compares `docs/routes.md` with it.
 */
export const ROUTES = [
  ...ACCESS,
  ...RUNS,
  ...LINEAGE,
  ...SYNC,
  ...PUBLIC,
  ...ADMIN_TRUST,
  ...ADMIN_RECORD,
  ...ADMIN_KEYS,
] as const;

export type Operation = (typeof ROUTES)[number]["operation"];
