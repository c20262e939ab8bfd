import { membershipsIn } from "../../src/trust/membership-history.ts";
import { readAs } from "./reader-client.ts";

/** Every membership that the region under `url` has held, as signed. Whoever reads them verifies them. */
export async function membershipsOf(url: string): Promise<readonly unknown[]> {
  const all: unknown[] = [];
  for (let after: number | null = 0; after !== null;) {
    const answer: Response = await readAs(url, null, `/.well-known/interlock/membership?after=${after}`);
    const page = (await answer.json()) as { readonly memberships?: unknown; readonly next?: unknown };
    all.push(...membershipsIn(page.memberships ?? []));
    // A region that says the same page again must not keep us here.
    after = typeof page.next === "number" && page.next > after ? page.next : null;
  }
  return all;
}
