import type { EntityJson, EntityStore, Request, Value } from "../../src/cedar/index.ts";
import { uidKey } from "../../src/cedar/index.ts";
import type { JsonObject, JsonValue } from "../../src/base/json.ts";

/** A Cedar value in Cedar's explicit JSON form: what cedar-wasm reads, and what people can read. */
export function cedarJson(value: Value): JsonValue {
  if (typeof value === "bigint") throw new RangeError("beyond what JSON carries exactly");
  if (typeof value !== "object") return value;
  switch (value.kind) {
    case "entity":
      return { __entity: { type: value.type, id: value.id } };
    case "set":
      return value.members.map(cedarJson);
    case "record": {
      const members = Object.fromEntries([...value.attributes].map(([name, member]) => [name, cedarJson(member)]));
      // Cedar's JSON has no way to write a record that looks like an escape; `__record` is ours, for vectors only.
      const looks_like_escape = value.attributes.size === 1 && /^__(entity|extn)$/.test(Object.keys(members)[0]!);
      return looks_like_escape ? { __record: members } : members;
    }
    case "decimal":
      return extension("decimal", decimalText(BigInt(value.ten_thousandths)));
    case "datetime":
      return extension("datetime", new Date(Number(value.epoch_ms)).toISOString());
    case "duration":
      return extension("duration", `${value.ms}ms`);
    case "ipaddr":
      return extension("ip", ipText(value.version, value.address, value.prefix_bits));
  }
  throw new TypeError("not a Cedar value");
}

const extension = (fn: string, arg: string): JsonObject => ({ __extn: { fn, arg } });

function decimalText(ten_thousandths: bigint): string {
  const digits = String(ten_thousandths < 0n ? -ten_thousandths : ten_thousandths).padStart(5, "0");
  const fraction = digits.slice(-4).replace(/0+$/, "") || "0";
  return `${ten_thousandths < 0n ? "-" : ""}${digits.slice(0, -4)}.${fraction}`;
}

function ipText(version: number, address: bigint, prefix: number): string {
  if (version !== 4) throw new TypeError("IPv6 is not written here");
  const octets = [24n, 16n, 8n, 0n].map((shift) => (address >> shift) & 255n);
  return `${octets.join(".")}/${prefix}`;
}

/** One entity of a store, without those it refers to. */
export function storedJson(store: EntityStore, uid: { type: string; id: string }): EntityJson | null {
  const entity = store.get(uidKey(uid));
  if (entity === undefined) return null;
  return {
    uid: { type: uid.type, id: uid.id },
    attrs: cedarJson(entity.attributes) as JsonObject,
    parents: entity.parents.map(({ type, id }) => ({ type, id })),
  };
}

export const requestJson = ({ principal, action, resource, context }: Request) => ({
  principal: { type: principal.type, id: principal.id },
  action: { type: action.type, id: action.id },
  resource: { type: resource.type, id: resource.id },
  context: cedarJson(context) as JsonObject,
});
