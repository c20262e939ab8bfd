import type { Handler } from "./access.ts";
import { json, refuse, unavailable } from "./reply.ts";
import { membershipsQuery } from "./schemas/admin.ts";
import { readQuery } from "./schema-input.ts";
import { twice } from "../objects/deadline.ts";

const READ_MS = 2_000;
/** A membership has at most half a megabyte. */
const PAGE = 20;

/**
 * Every membership that this region has held, with the signatures of the roots: who knows the roots verifies them, and
 * has the keys of all regions, and since when (docs/operations/audit.md). Public, as keys are.
 */
export const memberships: Handler = async (room, _arrival, request) => {
  const query = readQuery(request, membershipsQuery);
  if (!query.ok) return refuse(query.error, "problem");
  const { after = 0 } = query.value;
  const page = await twice(READ_MS, () => room.authority().memberships(after, PAGE)).catch(() => null);
  if (page === null) return refuse(unavailable("the trust authority does not answer; retry"), "problem");
  return json({ region: room.region.name, ...page }, 200, { "Cache-Control": "public, max-age=60" });
};
