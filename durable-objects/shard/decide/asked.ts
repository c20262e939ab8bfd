import { digestOf } from "../../../src/base/digest.ts";
import type { DecideMessage } from "../../../src/objects/decide.ts";
import type { Facts } from "../../../src/vocabulary/types.ts";
import { nodeSha256 } from "../../platform.ts";

/**
 * What an idempotency key is held against: the questions, and as whom they are asked. A repetition may bring a new
 * proof, so not the facts as such count but who it is, and the canonical keys that they rest on.
 */
export function askedDigest({ semantic, items, permit }: DecideMessage, factsOf: (item: number) => Facts): string {
  const texts = items.map(({ request }, at) => {
    const { workload, delegations, pass } = factsOf(at);
    if (pass !== undefined) return JSON.stringify([request, pass.id, workload?.identity?.keys ?? null]);
    if (workload === undefined && delegations === undefined) return request;
    return JSON.stringify([
      request,
      // Two workloads of one issuer may rest on the same keys.
      workload?.identity?.workload ?? null,
      workload?.identity?.on_behalf_of ?? null,
      workload?.identity?.keys ?? null,
      workload?.attestation?.keys ?? null,
      delegations?.map(({ id }) => id) ?? [],
    ]);
  });
  const wanted = permit === undefined ? "" : JSON.stringify([permit.audience, permit.ttl_ms, permit.offline]);
  return digestOf(`${semantic}\0${texts.join("\0")}${wanted}`, nodeSha256);
}
