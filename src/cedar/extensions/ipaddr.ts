/** Longest legal text: eight full groups and "/128". */
const MAX_TEXT = 43;

const V4_BITS = 32;
const V6_BITS = 128;

/**
 * An address or a CIDR range. The host bits are kept as written, so ip("10.0.0.1/24") differs from ip("10.0.0.0/24")
 * under `==` although both cover the same range.
 */
export class IpAddr {
  readonly kind = "ipaddr";
  readonly version: 4 | 6;
  readonly address: bigint;
  readonly prefix_bits: number;

  constructor(version: 4 | 6, address: bigint, prefix_bits: number) {
    this.version = version;
    this.address = address;
    this.prefix_bits = prefix_bits;
  }
}

/** Reads an IPv4 or IPv6 address with an optional prefix; a message when it is neither. */
export function parseIp(text: string): IpAddr | string {
  if (text.length > MAX_TEXT) return `error parsing IP address from string \`${text}\`: string length is too large`;
  const slash = text.indexOf("/");
  const addressText = slash < 0 ? text : text.slice(0, slash);
  const v4 = parseV4(addressText);
  const version = v4 === null ? 6 : 4;
  const address = v4 ?? parseV6(addressText);
  if (address === null) return `invalid IP address: ${addressText}`;
  const bits = version === 4 ? V4_BITS : V6_BITS;
  const prefix = slash < 0 ? bits : parsePrefix(text.slice(slash + 1), bits);
  if (prefix === null) return `error parsing prefix in \`${text}\``;
  return new IpAddr(version, address, prefix);
}

/** Four octets in decimal without leading zeros (which some parsers read as octal: an old way around filters). */
function parseV4(text: string): bigint | null {
  const octets = text.split(".");
  if (octets.length !== 4) return null;
  let address = 0;
  for (const octet of octets) {
    if (!/^(?:0|[1-9][0-9]{0,2})$/.test(octet)) return null;
    const value = Number(octet);
    if (value > 255) return null;
    address = address * 256 + value;
  }
  return BigInt(address);
}

/** Up to eight groups, where one `::` stands for at least one zero group. Embedded IPv4 is not Cedar's. */
function parseV6(text: string): bigint | null {
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const head = groupsOf(halves[0] ?? "");
  const tail = halves.length === 2 ? groupsOf(halves[1] ?? "") : [];
  if (head === null || tail === null) return null;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return null;
  let address = 0n;
  for (const group of head) address = (address << 16n) | BigInt(group);
  address <<= BigInt(16 * (8 - head.length));
  let low = 0n;
  for (const group of tail) low = (low << 16n) | BigInt(group);
  return address | low;
}

function groupsOf(text: string): number[] | null {
  if (text === "") return [];
  const groups: number[] = [];
  for (const group of text.split(":")) {
    if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return null;
    groups.push(Number.parseInt(group, 16));
  }
  return groups;
}

function parsePrefix(text: string, max: number): number | null {
  if (!/^(?:0|[1-9][0-9]{0,2})$/.test(text)) return null;
  const bits = Number(text);
  return bits <= max ? bits : null;
}

const bitsOf = (ip: IpAddr): number => (ip.version === 4 ? V4_BITS : V6_BITS);

/** Whether every address of `inner` is in `outer`; always false across versions. */
export function isInRange(inner: IpAddr, outer: IpAddr): boolean {
  if (inner.version !== outer.version || inner.prefix_bits < outer.prefix_bits) return false;
  const host = BigInt(bitsOf(outer) - outer.prefix_bits);
  return inner.address >> host === outer.address >> host;
}

/** Whether the whole range is loopback: 127.0.0.0/8 or ::1. */
export function isLoopback(ip: IpAddr): boolean {
  return ip.version === 4
    ? ip.address >> 24n === 127n && ip.prefix_bits >= 8
    : ip.address === 1n && ip.prefix_bits === V6_BITS;
}

/** Whether the whole range is multicast: 224.0.0.0/4 or ff00::/8. */
export function isMulticast(ip: IpAddr): boolean {
  return ip.version === 4
    ? ip.address >> 28n === 14n && ip.prefix_bits >= 4
    : ip.address >> 120n === 0xffn && ip.prefix_bits >= 8;
}
