import { err, ok, type Result } from "../base/result.ts";
import { fromBase64url } from "../base/bytes.ts";
import { MAX_BUNDLE_BYTES } from "../policy/bundles/documents.ts";
import type { Handler } from "./access.ts";
import { door } from "./admin.ts";
import { restsOn } from "./admin-guard.ts";
import { bad } from "./reply.ts";
import { putPolicyBody } from "./schemas/policy.ts";
import { readBody } from "./schema-input.ts";

/** The bundle as base64url, and room for the documents beside it. */
const MAX_BODY_BYTES = Math.ceil((MAX_BUNDLE_BYTES * 4) / 3) + 1_048_576;

/** Signed policy: what the region decides by (docs/policy.md). */
export const policyHandlers = {
  readPolicy: door("readPolicy", async ({ ask }) => {
    const asked = await ask((stub) => stub.policyView());
    return asked.ok ? ok({ status: 200, body: asked.value }) : asked;
  }),
  putPolicy: door("putPolicy", async ({ room, request, admin, ask }) => {
    const input = await readBody(request, MAX_BODY_BYTES, putPolicyBody);
    if (!input.ok) return input;
    const { roots = [], timestamp = null, policy = null, bundle, acknowledge = null, dry_run = false } = input.value;
    const bytes = bytesOf(bundle);
    if (!bytes.ok) return err(bad(bytes.error));
    const offer = { roots, timestamp, policy, bundle: bytes.value };
    const rests_on = restsOn(admin);
    const by = { actor: admin.id, key: admin.thumbprint, another_key: room.admin_keys.length > 1, rests_on };
    const asked = await ask((stub) => stub.putPolicy({ ...offer, ...by, acknowledge, dry_run }));
    if (!asked.ok) return asked;
    const answer = asked.value;
    if (answer.ok) {
      const { outcome, view, gate, why = null } = answer;
      const refusal = why === null ? null : { ...why, code: `policy_${why.code}` };
      return ok({ status: outcome === "asked" ? 202 : 200, body: { ...view, outcome, gate, refusal } });
    }
    if (answer.code === "refused") {
      const { code, role, detail } = answer.refusal;
      return err({ status: 422, code: `policy_${code}`, detail: `${role}: ${detail}` });
    }
    return err({ status: answer.code === "unchecked" ? 503 : 409, code: answer.code, detail: answer.message });
  }),
} as const satisfies Readonly<Record<string, Handler>>;

function bytesOf(text: string | undefined): Result<Uint8Array | null, string> {
  if (text === undefined) return ok(null);
  const bytes = fromBase64url(text);
  return bytes === null ? err("bundle: not base64url") : ok(bytes);
}
