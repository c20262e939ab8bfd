import { type Datetime } from "./extensions/datetime.ts";
import { type Decimal, decimalFromNumber, parseDecimal } from "./extensions/decimal.ts";
import { type Duration } from "./extensions/duration.ts";
import { type IpAddr } from "./extensions/ipaddr.ts";
import { inLongRange, type Long, normalLong } from "./long.ts";

/** An entity's name on the wire: `type` is a path of identifiers (`Acme::User`), `id` any text. */
export type EntityUid = { readonly type: string; readonly id: string };

/**
 * A Cedar value. Booleans, strings and longs are JavaScript's own; a long is a `number` when safe, else a `bigint`
 * (see `long.ts`). Everything else is immutable and carries a `kind`. Build values with the constructors below.
 */
export type Value =
  boolean | string | Long | EntityRef | CedarSet | CedarRecord | Decimal | IpAddr | Datetime | Duration;

/**
 * One string per entity uid and one uid per string, for maps. The length prefix makes it injective even for a type
 * that holds quotes or colons, so no request can name one entity and be looked up as another.
 */
export const uidKey = (uid: EntityUid): string => `${uid.type.length}:${uid.type}${uid.id}`;

/** An entity uid as a value, with its key computed once. It refers to an entity; it does not hold its attributes. */
export class EntityRef implements EntityUid {
  readonly kind = "entity";
  readonly type: string;
  readonly id: string;
  readonly key: string;

  constructor(type: string, id: string) {
    this.type = type;
    this.id = id;
    this.key = `${type.length}:${type}${id}`;
  }
}

/** Attribute names to values. Held in a Map, so `__proto__` and `constructor` are names like any other. */
export class CedarRecord {
  readonly kind = "record";
  readonly attributes: ReadonlyMap<string, Value>;
  #key: string | null = null;

  constructor(attributes: ReadonlyMap<string, Value>) {
    this.attributes = attributes;
  }

  /** Canonical text; equal for equal records. Computed once, in time linear in the record's size. */
  get key(): string {
    if (this.#key === null) {
      const names = [...this.attributes.keys()].sort();
      this.#key = `{${names.map((name) => `${name.length}:${name}${valueKey(this.attributes.get(name)!)}`).join(",")}}`;
    }
    return this.#key;
  }
}

/** A set without duplicates. Membership costs one hash lookup, for nested values too. */
export class CedarSet {
  readonly kind = "set";
  /** Members in the order first written. */
  readonly members: readonly Value[];
  readonly #plain = new Set<Value>();
  readonly #structured = new Set<string>();
  #key: string | null = null;
  #entities: readonly EntityRef[] | null | undefined;

  constructor(values: Iterable<Value>) {
    const members: Value[] = [];
    for (const value of values) {
      if (this.has(value)) continue;
      if (typeof value === "object") this.#structured.add(valueKey(value));
      else this.#plain.add(value);
      members.push(value);
    }
    this.members = members;
  }

  has(value: Value): boolean {
    return typeof value === "object" ? this.#structured.has(valueKey(value)) : this.#plain.has(value);
  }

  /** The members when all are entities, else null: what the right side of `in` must be. */
  get entities(): readonly EntityRef[] | null {
    if (this.#entities === undefined) {
      const refs = this.members.filter((member) => member instanceof EntityRef);
      this.#entities = refs.length === this.members.length ? refs : null;
    }
    return this.#entities;
  }

  /** Canonical text; equal for equal sets, whatever the order. Linear in size, so equality cannot explode. */
  get key(): string {
    this.#key ??= `[${this.members.map(valueKey).sort().join(",")}]`;
    return this.#key;
  }
}

/** Injective text of any value: strings and uids carry their length, every kind its own first character. */
function valueKey(value: Value): string {
  switch (typeof value) {
    case "string":
      return `"${value.length}:${value}`;
    case "boolean":
      return value ? "t" : "f";
    case "object":
      break;
    default:
      return `#${value}`;
  }
  switch (value.kind) {
    case "entity":
      return `e${value.id.length}:${value.key}`;
    case "set":
    case "record":
      return value.key;
    case "decimal":
      return `D${value.ten_thousandths}`;
    case "datetime":
      return `T${value.epoch_ms}`;
    case "duration":
      return `P${value.ms}`;
    default:
      return `I${value.version}:${value.address}/${value.prefix_bits}`;
  }
}

/** Cedar's `==`: structural, never an error, false across types. */
export function equals(a: Value, b: Value): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a.kind !== b.kind) return false;
  switch (a.kind) {
    case "entity":
      return a.key === (b as EntityRef).key;
    case "set":
      return (
        a.members.length === (b as CedarSet).members.length && a.members.every((member) => (b as CedarSet).has(member))
      );
    case "record":
      return sameAttributes(a.attributes, (b as CedarRecord).attributes);
    case "decimal":
      return a.ten_thousandths === (b as Decimal).ten_thousandths;
    case "datetime":
      return a.epoch_ms === (b as Datetime).epoch_ms;
    case "duration":
      return a.ms === (b as Duration).ms;
    default:
      return valueKey(a) === valueKey(b);
  }
}

/** Whether two attribute maps hold equal values under equal names. */
export function sameAttributes(a: ReadonlyMap<string, Value>, b: ReadonlyMap<string, Value>): boolean {
  if (a.size !== b.size) return false;
  for (const [name, value] of a) {
    const other = b.get(name);
    if (other === undefined || !equals(value, other)) return false;
  }
  return true;
}

/** What an error message calls the value's type. */
export function typeName(value: Value): string {
  switch (typeof value) {
    case "string":
      return "string";
    case "boolean":
      return "bool";
    case "object":
      return value.kind === "entity" ? `(entity of type \`${value.type}\`)` : value.kind;
    default:
      return "long";
  }
}

/** A record from a map or from name–value pairs; a later pair replaces an earlier one of the same name. */
export const record = (entries: Iterable<readonly [string, Value]>): CedarRecord =>
  new CedarRecord(entries instanceof Map ? (entries as ReadonlyMap<string, Value>) : new Map(entries));

/** A set; duplicates collapse. */
export const set = (values: Iterable<Value>): CedarSet => new CedarSet(values);

export const string = (value: string): Value => value;

/**
 * A long from an integer: a safe `number`, or a `bigint` within ±2^63.
 *
 * Throws a RangeError for anything else, since a number beyond 2^53 has already lost digits; test with
 * `Number.isSafeInteger` first.
 */
export function long(value: number | bigint): Value {
  if (typeof value === "number") {
    if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is not a safe integer`);
    return value + 0;
  }
  if (!inLongRange(value)) throw new RangeError(`${value} does not fit in 64 bits`);
  return normalLong(value);
}

/** A reference to an entity. */
export const entity = (uid: EntityUid): EntityRef => (uid instanceof EntityRef ? uid : new EntityRef(uid.type, uid.id));

export { decimalFromNumber, parseDecimal };
