import { AdminClient } from "../../tools/region/admin-client.ts";
import type { TestRegion } from "./region.ts";

/** Both administrators of the region lift its freeze. */
export async function unfreeze(region: Pick<TestRegion, "url" | "admin" | "second">, reason: string): Promise<void> {
  await new AdminClient(region.url, region.admin).unfreeze(reason);
  const { mode } = await new AdminClient(region.url, region.second).unfreeze(reason);
  if (mode === "frozen") throw new Error("two administrators asked, and the region is frozen still");
}
