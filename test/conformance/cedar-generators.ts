import * as fc from "fast-check";
import type { Arbitrary } from "fast-check";

/**
 * Random Cedar for the differential fuzz: policies in JSON form, entities, requests. Mostly well typed so that
 * evaluation gets somewhere, with a share of type confusion, malformed literals and edge values everywhere.
 */

export type Json = null | boolean | number | bigint | string | Json[] | { [name: string]: Json };
export type Uid = { type: string; id: string };
export type Scenario = {
  policies: readonly Json[];
  entities: readonly Json[];
  principal: Uid;
  action: Uid;
  resource: Uid;
  context: Json;
};

const pick = <T>(...items: T[]): Arbitrary<T> => fc.constantFrom(...items);
const mostly = <T>(usual: Arbitrary<T>, rare: Arbitrary<T>, weight = 12): Arbitrary<T> =>
  fc.oneof({ arbitrary: usual, weight }, { arbitrary: rare, weight: 1 });

const LONGS: (number | bigint)[] = [
  0, 1, -1, 2, 3, -5, 7, 1000, 86_400_000, 3_037_000_500, 2 ** 53 - 1, -(2 ** 53) + 1,
  2n ** 53n, -(2n ** 53n), 2n ** 53n + 1n, 2n ** 62n, -(2n ** 62n), 2n ** 63n - 1n, -(2n ** 63n), 2n ** 63n - 2n,
]; // prettier-ignore
const longLiteral = fc.oneof(
  pick(...LONGS),
  fc.integer({ min: -20, max: 20 }),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
);
const smallLong = fc.oneof(pick(0, 1, -1, 2, 2 ** 53 - 1, -(2 ** 53) + 1), fc.integer({ min: -20, max: 20 }));

const names = pick("a", "b", "x", "y", "__proto__", "constructor", "hasOwnProperty", "with space", "", "é", "if");
const texts = pick(
  "",
  "a",
  "b",
  "ab",
  "aab",
  "abab",
  "*",
  "a*b",
  "\\",
  '"',
  "\n",
  "\0",
  "é",
  "😀",
  "a😀b",
  "__proto__",
  "${x}",
);
const strings = fc.oneof(texts, texts, fc.string({ unit: "grapheme", maxLength: 4 }), names);

const two = fc.integer({ min: 0, max: 99 }).map((n) => String(n).padStart(2, "0"));
const near = (...edges: number[]) =>
  fc.oneof(
    pick(...edges).map((n) => String(n).padStart(2, "0")),
    two,
  );
const yearText = fc.oneof(
  pick("0000", "0001", "1900", "1970", "2000", "2024", "2023", "9999", "10000", "999"),
  fc.integer({ min: 0, max: 9999 }).map((n) => String(n).padStart(4, "0")),
);
const dateText = fc.tuple(yearText, near(0, 1, 2, 12, 13), near(0, 1, 28, 29, 30, 31, 32)).map((p) => p.join("-"));
const timeText = fc.tuple(near(0, 23, 24), near(0, 59, 60), near(0, 59, 60)).map((p) => `T${p.join(":")}`);
const zoneText = fc.oneof(
  pick("Z", "z", "", "+0000", "-0000", "+2359", "-2359", "+2400", "+0060", "+00:00", "ZZ"),
  fc.tuple(pick("+", "-"), near(0, 23), near(0, 59)).map((p) => p.join("")),
);
const msText = pick("", "", ".000", ".999", ".1", ".1234", ".12a");
export const dateTimeText = fc.oneof(
  dateText,
  fc.tuple(dateText, timeText, msText, zoneText).map((p) => p.join("")),
  pick(
    "2024-02-29",
    "2024-01-01T00:00:00Z",
    "1970-01-01",
    "1969-12-31T23:59:59.999Z",
    "9999-12-31T23:59:59.999-2359",
    "",
  ),
);
const digits = fc.oneof(
  pick("0", "1", "00", "01", "24", "60", "999", "1000", "9223372036854775807", "9223372036854775808", "18446744073709551616", "106751991167", "106751991168"),
  fc.bigInt({ min: 0n, max: 2n ** 64n }).map(String),
  fc.nat(100).map(String),
); // prettier-ignore
export const durationText = fc.oneof(
  pick("1d", "-1d", "1h", "0ms", "-", "", "1", "d", "1d1d", "1ms1s", "-9223372036854775808ms", "9223372036854775807ms"),
  fc
    .tuple(
      pick("", "", "-", "+"),
      fc.subarray(["d", "h", "m", "s", "ms"], { minLength: 1 }),
      fc.array(digits, { minLength: 5, maxLength: 5 }),
    )
    .map(([sign, units, counts]) => sign + units.map((unit, i) => counts[i] + unit).join("")),
);
export const decimalText = fc.oneof(
  pick("0.0", "-0.0", "1.0", "-0.5", "0.5", "1.23456", "1.", ".1", "1", "+1.0", "922337203685477.5807", "922337203685477.5808", "-922337203685477.5808", "-922337203685477.5809", "1e3", "١.0"),
  fc.tuple(pick("", "-"), digits, digits).map(([sign, a, b]) => `${sign}${a}.${b}`),
  fc.tuple(pick("", "-"), fc.nat(50), fc.nat(9999)).map(([sign, a, b]) => `${sign}${a}.${b}`),
); // prettier-ignore
const hextet = fc.oneof(
  pick("0", "1", "ff02", "FF", "00001", "g", ""),
  fc.nat(0xffff).map((n) => n.toString(16)),
);
const octet = fc.oneof(pick("0", "127", "10", "224", "239", "255", "256", "01", ""), fc.nat(255).map(String));
const prefixText = fc.oneof(pick("", "", "/0", "/1", "/4", "/7", "/8", "/24", "/32", "/33", "/64", "/128", "/129", "/08", "/", "/-1", "/256"), fc.nat(130).map((n) => `/${n}`)); // prettier-ignore
export const ipText = fc.oneof(
  pick("127.0.0.1", "::1", "::", "10.0.0.0/8", "10.1.2.3", "ff00::/8", "224.0.0.0/4", "::ffff:1.2.3.4", "1::2::3", ":::", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1.2.3", "1.2.3.4.5", "fe80::1%0"),
  fc.tuple(fc.array(octet, { minLength: 4, maxLength: 4 }), prefixText).map(([o, p]) => o.join(".") + p),
  fc.tuple(fc.array(hextet, { minLength: 8, maxLength: 8 }), prefixText).map(([h, p]) => h.join(":") + p),
  fc.tuple(fc.array(hextet, { maxLength: 7 }), fc.array(hextet, { maxLength: 4 }), prefixText).map(([a, b, p]) => `${a.join(":")}::${b.join(":")}${p}`),
); // prettier-ignore

const TYPES = ["U", "G", "R", "N::T"];
const ids = pick("a", "b", "c", "", "😀");
const uids = fc.record({ type: pick(...TYPES), id: ids });
const actions = fc.record({ type: pick("Action", "Action", "N::Action"), id: pick("read", "write", "all") });
const anyUid = fc.oneof({ arbitrary: uids, weight: 6 }, { arbitrary: actions, weight: 1 });
const typeNames = mostly(pick(...TYPES, "Action", "Zed"), pick("N :: T", "if", "1", "", "__cedar::U"), 60);

const extension = (fn: string, arg: Json): Json => ({ __extn: { fn, arg } });
const extensionLiteral = fc.oneof(
  ipText.map((t) => extension("ip", t)),
  decimalText.map((t) => extension("decimal", t)),
  dateTimeText.map((t) => extension("datetime", t)),
  durationText.map((t) => extension("duration", t)),
);
/** Extension literals that parse: an entity or context with a bad one is refused whole, which hides the rest. */
const goodExtension = pick<Json>(
  extension("ip", "10.0.0.1"),
  extension("ip", "10.0.0.0/8"),
  extension("decimal", "1.50"),
  extension("datetime", "2024-01-01"),
  extension("duration", "-1d2h"),
  { __extn: { fn: "offset", args: [extension("datetime", "2024-01-01"), extension("duration", "1d")] } },
  { __extn: { fn: "isIpv4", args: [extension("ip", "10.0.0.1")] } },
);

const escape = (uid: Uid): Json => ({ __entity: uid });
/** Values in Cedar's JSON form. */
const valueOf = (leaf: Arbitrary<Json>): Arbitrary<Json> =>
  fc.letrec<{ value: Json }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 3, depthSize: "small" },
      { arbitrary: leaf, weight: 6 },
      { arbitrary: fc.array(tie("value"), { maxLength: 3 }), weight: 2 },
      { arbitrary: fc.dictionary(names, tie("value"), { maxKeys: 3 }) as Arbitrary<Json>, weight: 2 },
    ),
  })).value;
const oddValues: Arbitrary<Json> = pick<Json>(
  null,
  1.5,
  { __entity: { type: "U" } },
  { __entity: { type: "U", id: "a" }, also: 1 },
  { __entity: { type: "U", id: "a", also: 1 } },
  { __extn: 3 },
  { __extn: { fn: "ip" } },
  { __extn: { fn: "nope", arg: 1 } },
  { __extn: { fn: "ip", arg: "10.0.0.1", args: [] } },
  { __extn: { fn: "ip", args: ["10.0.0.1", "x"] } },
  { __extn: { fn: "ip", arg: "bad" } },
  { __expr: "1" },
  { __expr: 1 },
);
const plainLeaf: Arbitrary<Json> = fc.oneof<Arbitrary<Json>[]>(
  smallLong,
  strings,
  fc.boolean(),
  anyUid.map(escape),
  goodExtension,
);
const dataValue = valueOf(mostly(plainLeaf, oddValues, 400));
const literalValue = valueOf(
  mostly(
    fc.oneof<Arbitrary<Json>[]>(longLiteral, strings, fc.boolean(), anyUid.map(escape), extensionLiteral),
    oddValues,
    200,
  ),
);

type Kinds =
  "bool" | "long" | "string" | "entity" | "set" | "record" | "ip" | "decimal" | "datetime" | "duration" | "any";
const binary = (op: string, left: Arbitrary<Json>, right: Arbitrary<Json>): Arbitrary<Json> =>
  fc.tuple(left, right).map(([l, r]) => ({ [op]: { left: l, right: r } }));
const call = (name: string, ...args: Arbitrary<Json>[]): Arbitrary<Json> =>
  fc.tuple(...args).map((list) => ({ [name]: list }));
const V = (value: Arbitrary<Json>): Arbitrary<Json> => value.map((Value) => ({ Value }));
const patterns = fc.array(
  fc.oneof(fc.constant<Json>("Wildcard"), pick("a", "b", "ab", "*", "😀", "é", "\\", '"').map((Literal): Json => ({ Literal }))),
  { maxLength: 6 },
); // prettier-ignore

const BRANCHES = ["if", "then", "else"] as const;
const conditional = (...parts: [Json, Json, Json]): Json => ({
  "if-then-else": Object.fromEntries(BRANCHES.map((name, i) => [name, parts[i]!])),
});

const expressions = fc.letrec<Record<Kinds, Json>>((tie) => {
  // Now and then any expression stands where a particular type is wanted.
  const a = (kind: Kinds): Arbitrary<Json> => mostly(tie(kind), tie("any"), 40);
  const holder = fc.oneof(a("record"), a("entity"));
  const grow = (kind: Kinds, leaves: Arbitrary<Json>[], branches: Arbitrary<Json>[]) =>
    fc.oneof(
      { maxDepth: 5, depthSize: "small", depthIdentifier: "expression" },
      { arbitrary: fc.oneof(...leaves), weight: 20 },
      ...branches.map((arbitrary) => ({ arbitrary, weight: Math.ceil(40 / branches.length) })),
      {
        arbitrary: fc.tuple(a("bool"), a(kind), a(kind)).map(([c, t, e]): Json => conditional(c, t, e)),
        weight: 3,
      },
      {
        arbitrary: fc
          .tuple(holder, names, a(kind))
          .map(([left, attr, otherwise]): Json =>
            conditional({ has: { left, attr } }, { ".": { left, attr } }, otherwise),
          ),
        weight: 2,
      },
      {
        arbitrary: fc
          .tuple(a("entity"), a("string"), a(kind))
          .map(([left, right, otherwise]): Json =>
            conditional({ hasTag: { left, right } }, { getTag: { left, right } }, otherwise),
          ),
        weight: 2,
      },
      { arbitrary: fc.tuple(holder, names).map(([left, attr]): Json => ({ ".": { left, attr } })), weight: 1 },
      {
        arbitrary: fc.tuple(a("entity"), a("string")).map(([left, right]): Json => ({ getTag: { left, right } })),
        weight: 1,
      },
    );
  const text = (literal: Arbitrary<string>): Arbitrary<Json> => mostly(V(literal), a("string"), 15);
  const kinds: Kinds[] = ["bool", "long", "string", "entity", "set", "record", "ip", "decimal", "datetime", "duration"];
  const same = (op: string) => fc.oneof(...kinds.map((kind) => binary(op, a(kind), a(kind))));
  const ordered = (op: string) =>
    fc.oneof(...(["long", "long", "datetime", "duration"] as const).map((kind) => binary(op, a(kind), a(kind))));
  const path = fc.oneof(names as Arbitrary<Json>, fc.array(names as Arbitrary<Json>, { minLength: 1, maxLength: 3 }));
  return {
    bool: grow(
      "bool",
      [V(fc.boolean())],
      [
        same("=="),
        same("!="),
        ...["<", "<=", ">", ">="].map(ordered),
        binary("&&", a("bool"), a("bool")),
        binary("||", a("bool"), a("bool")),
        a("bool").map((arg): Json => ({ "!": { arg } })),
        binary("in", a("entity"), fc.oneof(a("entity"), a("set"))),
        binary("contains", a("set"), a("any")),
        binary("containsAll", a("set"), a("set")),
        binary("containsAny", a("set"), a("set")),
        a("set").map((arg): Json => ({ isEmpty: { arg } })),
        binary("hasTag", a("entity"), a("string")),
        fc.tuple(fc.oneof(a("record"), a("entity")), path).map(([left, attr]): Json => ({ has: { left, attr } })),
        fc.tuple(a("string"), patterns).map(([left, pattern]): Json => ({ like: { left, pattern } })),
        fc.tuple(a("entity"), typeNames).map(([left, entity_type]): Json => ({ is: { left, entity_type } })),
        fc
          .tuple(a("entity"), typeNames, fc.oneof(a("entity"), a("set")))
          .map(([left, entity_type, within]): Json => ({ is: { left, entity_type, in: within } })),
        ...["isIpv4", "isIpv6", "isLoopback", "isMulticast"].map((name) => call(name, a("ip"))),
        call("isInRange", a("ip"), a("ip")),
        ...["lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual"].map((name) =>
          call(name, a("decimal"), a("decimal")),
        ),
        call("ip"),
        call("isIpv4", a("ip"), a("any")),
      ],
    ),
    long: grow(
      "long",
      [V(longLiteral)],
      [
        ...["+", "-", "*"].map((op) => binary(op, a("long"), a("long"))),
        a("long").map((arg): Json => ({ neg: { arg } })),
        ...["toMilliseconds", "toSeconds", "toMinutes", "toHours", "toDays"].map((name) => call(name, a("duration"))),
      ],
    ),
    string: grow("string", [V(strings)], []),
    entity: grow(
      "entity",
      [pick<Json>({ Var: "principal" }, { Var: "action" }, { Var: "resource" }), V(anyUid.map(escape))],
      [],
    ),
    set: grow(
      "set",
      [V(fc.array(literalValue, { maxLength: 3 }))],
      [
        ...kinds.map((kind) => fc.array(a(kind), { maxLength: 3 }).map((Set): Json => ({ Set }))),
        fc.array(a("entity"), { maxLength: 3 }).map((Set): Json => ({ Set })),
      ],
    ),
    record: grow(
      "record",
      [fc.constant<Json>({ Var: "context" })],
      [fc.dictionary(names, a("any"), { maxKeys: 3 }).map((Record): Json => ({ Record: Record as Json }))],
    ),
    ip: grow(
      "ip",
      [
        fc.oneof(
          call(
            "ip",
            V(pick("10.0.0.1", "10.0.0.0/8", "127.0.0.1", "::1", "ff02::1", "224.0.0.1/4", "::/0", "0.0.0.0/0")),
          ),
          call("ip", text(ipText)),
        ),
      ],
      [],
    ),
    decimal: grow(
      "decimal",
      [
        fc.oneof(
          call("decimal", V(pick("0.0", "1.0", "-1.5", "1.50", "922337203685477.5807", "-0.0001"))),
          call("decimal", text(decimalText)),
        ),
      ],
      [],
    ),
    datetime: grow(
      "datetime",
      [
        fc.oneof(
          call("datetime", V(pick("2024-01-01", "1970-01-01", "1969-12-31T23:59:59.999Z", "0000-01-01", "9999-12-31"))),
          call("datetime", text(dateTimeText)),
        ),
      ],
      [call("offset", a("datetime"), a("duration")), call("toDate", a("datetime"))],
    ),
    duration: grow(
      "duration",
      [
        fc.oneof(
          call("duration", V(pick("1d", "-1h", "0ms", "-1d1ms", "9223372036854775807ms", "-9223372036854775808ms"))),
          call("duration", text(durationText)),
        ),
      ],
      [call("durationSince", a("datetime"), a("datetime")), call("toTime", a("datetime"))],
    ),
    any: fc.oneof({ depthIdentifier: "expression" }, V(literalValue), ...kinds.map((kind) => tie(kind))),
  };
});

const entityScope: Arbitrary<Json> = fc.oneof(
  fc.constant<Json>({ op: "All" }),
  anyUid.map((entity): Json => ({ op: "==", entity })),
  anyUid.map((entity): Json => ({ op: "in", entity })),
  typeNames.map((entity_type): Json => ({ op: "is", entity_type })),
  fc.tuple(typeNames, anyUid).map(([entity_type, entity]): Json => ({ op: "is", entity_type, in: { entity } })),
);
const mostlyAll = (scope: Arbitrary<Json>): Arbitrary<Json> =>
  fc.oneof(fc.constant<Json>({ op: "All" }), fc.constant<Json>({ op: "All" }), scope);
const scopeActions = mostly(actions, uids, 100);
const actionScope: Arbitrary<Json> = fc.oneof(
  fc.constant<Json>({ op: "All" }),
  scopeActions.map((entity): Json => ({ op: "==", entity })),
  scopeActions.map((entity): Json => ({ op: "in", entity })),
  fc.array(scopeActions, { maxLength: 3 }).map((entities): Json => ({ op: "in", entities })),
);
const condition: Arbitrary<Json> = fc.record({ kind: pick("when", "when", "unless"), body: expressions.bool });
const policy: Arbitrary<Json> = fc.record({
  effect: pick("permit", "permit", "forbid"),
  principal: mostlyAll(entityScope),
  action: mostlyAll(actionScope),
  resource: mostlyAll(entityScope),
  conditions: fc.array(condition, { maxLength: 2, minLength: 1 }),
});

const attributes = fc.dictionary(names, dataValue, { maxKeys: 4 }) as Arbitrary<{ [name: string]: Json }>;
/** Parents come from later in the order, so that most hierarchies are acyclic; some are not. */
const ORDER = ["U", "R", "G", "N::T"];
const plainEntity: Arbitrary<Json> = fc
  .tuple(uids, attributes, fc.array(uids, { maxLength: 3 }), attributes, fc.boolean())
  .map(([uid, attrs, above, tags, strict]): Json => {
    const rank = (other: Uid) => ORDER.indexOf(other.type) * 8 + other.id.length + (other.id.codePointAt(0) ?? 0) / 1e6;
    const parents = above.filter((other) => !strict || rank(other) > rank(uid));
    return { uid, attrs, parents: parents.filter((other) => rank(other) > rank(uid) || other.id === "c"), tags };
  });
const actionEntity: Arbitrary<Json> = pick("read", "write").map((id): Json => ({
  uid: { type: "Action", id },
  attrs: {},
  parents: [{ type: "Action", id: "all" }],
}));
const entityList = fc
  .uniqueArray(mostly(plainEntity, actionEntity, 8), {
    maxLength: 8,
    selector: (json) => JSON.stringify((json as { uid: Uid }).uid),
  })
  .chain((list) => mostly(fc.constant(list), fc.constant([...list, ...list.slice(0, 1)]), 20));

export const scenarios: Arbitrary<Scenario> = fc.record({
  policies: fc.array(policy, { minLength: 1, maxLength: 6 }),
  entities: entityList,
  principal: uids,
  action: actions,
  resource: uids,
  context: attributes,
});
