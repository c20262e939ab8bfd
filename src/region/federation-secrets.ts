import { fromBase64url, utf8 } from "../base/bytes.ts";
import { isObject, parseJson } from "../base/json.ts";
import { err, ok, type Result } from "../base/result.ts";

/** What all regions of a federation share, so that a key has one pseudonym in all of them (`trust/pseudonym`). */
export type FederationSecret = { readonly id: string; readonly secret: Uint8Array };

/** The first is the current one: under it this region writes. All of them are looked up. */
export type FederationSecrets = readonly [FederationSecret, ...FederationSecret[]];

const ID = /^[a-z0-9][a-z0-9-]{0,30}$/;
/** Of a region without peers. No head under it is accepted. */
export const OPEN_SECRET: FederationSecret = {
  id: "open",
  secret: utf8("interlock: no federation secret is configured"),
};

/**
 * `INTERLOCK_FEDERATION_SECRETS`: JSON `[{"id": "f1", "secret": "<base64url of 32 bytes>"}, …]`, the current one first;
 * empty: none.
 */
export function readFederationSecrets(text: string): Result<FederationSecrets, string> {
  if (text === "") return ok([OPEN_SECRET]);
  const json = parseJson(text);
  if (!json.ok || !Array.isArray(json.value) || json.value.length === 0 || json.value.length > 4) return err(SHAPE);
  const secrets: FederationSecret[] = [];
  for (const item of json.value) {
    if (!isObject(item) || Object.keys(item).sort().join() !== "id,secret") return err(SHAPE);
    const secret = typeof item["secret"] === "string" ? fromBase64url(item["secret"]) : null;
    if (
      typeof item["id"] !== "string" ||
      !ID.test(item["id"]) ||
      item["id"] === OPEN_SECRET.id ||
      secret?.length !== 32
    )
      return err(SHAPE);
    if (secrets.some(({ id }) => id === item["id"])) return err(`INTERLOCK_FEDERATION_SECRETS: two have one id`);
    secrets.push({ id: item["id"], secret });
  }
  const [current, ...others] = secrets;
  return ok([current!, ...others, OPEN_SECRET]);
}

const SHAPE =
  'INTERLOCK_FEDERATION_SECRETS: JSON [{"id": "f1", "secret": "<base64url, 32 bytes>"}, …] with 1 to 4 secrets is required';
