import { digestOf, sha256 } from "../../src/base/digest.ts";
import { utf8 } from "../../src/base/bytes.ts";
import { coreText, decide } from "../../src/decision/decide.ts";
import { trustDigestOf } from "../../src/decision/trust-digest.ts";
import { activePolicy } from "../../src/policy/baseline.ts";
import type { CanonicalRequest, Facts } from "../../src/vocabulary/types.ts";
import { asked } from "./engines/door.ts";

/**
 * One corpus of requests, as text or bytes, and what becomes of each: read at the door, made canonical, decided. It runs
 * as it is on every engine (test/conformance/engines.test.ts), and has to come to the same bytes.
 */

const SUBJECT = '"subject":{"type":"user","id":"alice"}';
const RESOURCE = '"resource":{"type":"record","id":"record-1"}';
const READ = '"action":{"name":"read"}';
const with_ = (properties: string): string =>
  `{${SUBJECT},"action":{"name":"read","properties":${properties}},${RESOURCE}}`;
const named = (id: string): string => `{"subject":{"type":"user","id":"${id}"},${READ},${RESOURCE}}`;

/** The question `plain` with these bytes in the subject's id. */
const bytesIn = (...bytes: readonly number[]): Uint8Array => {
  const [before, after] = named("@").split("@") as [string, string];
  return Uint8Array.from([...utf8(before), ...bytes, ...utf8(after)]);
};
/** Arrays within one another, so that the document has this many levels. */
const levels = (n: number): string => with_(`{"a":${"[".repeat(n - 3)}${"]".repeat(n - 3)}}`);

/** Spellings of a group mean the same; groups mean different things. */
export const CORPUS: Readonly<Record<string, readonly (string | Uint8Array)[]>> = {
  plain: [
    `{${SUBJECT},${READ},${RESOURCE}}`,
    `{${RESOURCE},${READ},${SUBJECT}}`,
    `\n{ "resource" : { "id":"record-1" ,\t"type":"record" }, "action":{"name":"read"}, "subject":{"id":"alice","type":"user"} }\r\n`,
    '{"subject":{"type":"\\u0075ser","id":"\\u0061lice"},"action":{"name":"re\\u0061d"},"resource":{"type":"record","id":"record-1"}}',
    '{"s\\u0075bject":{"type":"user","id":"alice"},"action":{"name":"read"},"resource":{"type":"record","id":"record-1"}}',
    `{${SUBJECT},${READ},${RESOURCE},"context":{}}`,
    `{${SUBJECT},${READ},${RESOURCE},"context":{"absent":null}}`,
  ],
  denied: [`{${SUBJECT},"action":{"name":"shred"},${RESOURCE}}`],
  another_subject: [named("mallory")],
  unicode: [named("älice"), named("\\u00e4lice"), named("\\u00E4lice")],
  not_normalized: [named("a\u0308lice"), named("a\\u0308lice")],
  astral: [named("\u{1F511}"), named("\\ud83d\\udd11"), named("\\uD83D\\uDD11")],
  slash: [named("a/b"), named("a\\/b")],
  control: [named("a\\u0001b"), named("a\\u0001\\u0062")],
  line_separator: [named("a\\u2028b"), named("a\u2028b")],
  integer: [with_('{"n":10}'), with_('{"n":10.0}'), with_('{"n":1e1}'), with_('{"n":1E+1}'), with_('{"n":100e-1}')],
  zero: [with_('{"n":0}'), with_('{"n":-0}'), with_('{"n":0.0}'), with_('{"n":-0.0e5}'), with_('{"n":0e9}')],
  negative: [with_('{"n":-1}'), with_('{"n":-1.0}')],
  decimal: [with_('{"n":0.5}'), with_('{"n":5e-1}'), with_('{"n":0.50}'), with_('{"n":0.5000}')],
  four_places: [with_('{"n":0.0001}'), with_('{"n":1e-4}')],
  five_places: [with_('{"n":0.00001}'), with_('{"n":1e-5}')],
  largest: [with_('{"n":9007199254740991}'), with_('{"n":9007199254740991.0}')],
  too_large: [with_('{"n":9007199254740993}'), with_('{"n":9007199254740992}'), with_('{"n":1e300}')],
  beyond_a_double: [with_('{"n":1e999}'), with_('{"n":-1e400}')],
  nan: [with_('{"n":NaN}'), with_('{"n":nan}')],
  infinity: [with_('{"n":Infinity}'), with_('{"n":-Infinity}')],
  hexadecimal: [with_('{"n":0x10}')],
  leading_zero: [with_('{"n":010}')],
  duplicate: [`{${SUBJECT},${READ},${RESOURCE},${READ}}`, with_('{"n":1,"n":1}'), with_('{"n":1,"\\u006e":2}')],
  lone_surrogate: [named("\\ud83d"), named("a\\udd11b"), with_('{"\\ud800":1}')],
  order_of_members: [
    with_('{"b":1,"a":2,"\u00e4":3,"\\ud83d\\udd11":4}'),
    with_('{"\\ud83d\\udd11":4,"\u00e4":3,"a":2,"b":1}'),
  ],
  order_of_units: [with_('{"\uffff":1,"\\ud83d\\ude00":2}'), with_('{"\\ud83d\\ude00":2,"\uffff":1}')],
  proto: [with_('{"__proto__":{"admin":true}}'), with_('{"\\u005f_proto__":{"admin":true}}')],
  nested: [with_('{"a":{"c":[1,2,{"y":1,"x":2}],"b":null}}'), with_('{"a":{"c":[1.0,2,{"x":2,"y":1e0}]}}')],
  array_order: [with_('{"a":[2,1]}')],
  null_in_array: [with_('{"a":[null]}')],
  no_subject: [`{${READ},${RESOURCE}}`],
  empty: ["", "  "],
  trailing: [`{${SUBJECT},${READ},${RESOURCE}} x`],
  comment: [`{${SUBJECT},/* */${READ},${RESOURCE}}`],
  byte_order_mark: [`\ufeff{${SUBJECT},${READ},${RESOURCE}}`],
  byte_order_mark_in_text: [named("\ufeffalice"), named("\\ufeffalice")],
  nul: [named("a\\u0000b"), named("\\u0061\\u0000b")],
  nul_unescaped: [named("a\u0000b")],
  overlong: [bytesIn(0xc1, 0xa1), bytesIn(0xe0, 0x81, 0xa1), bytesIn(0xc0, 0x80)],
  not_utf8: [bytesIn(0xff), bytesIn(0xc3), bytesIn(0xed, 0xa0, 0x80), bytesIn(0xf4, 0x90, 0x80, 0x80)],
  deepest: [levels(32)],
  too_deep: [levels(33), levels(1_000), levels(100_000)],
  hundred: [with_('{"n":100}'), with_('{"n":1E+2}'), with_('{"n":1e2}'), with_('{"n":1000E-1}')],
  cedar_long: [with_('{"n":9223372036854775807}'), with_('{"n":-9223372036854775808}')],
  duplicate_deep: [
    with_('{"a":[{"b":{"c":1,"d":[],"c":1}}]}'),
    with_('{"a":[{"b":{"\\u0063":1,"c":1}}]}'),
    with_('{"__proto__":1,"\\u005f_proto__":1}'),
  ],
  lone_surrogate_deep: [with_('{"a":[{"\\udbff":1}]}'), with_('{"a":["\\udc00\\ud800"]}')],
  constructor_name: [with_('{"constructor":{"name":"x"}}'), with_('{"constructo\\u0072":{"name":"x"}}')],
  numeric_names: [with_('{"10":1,"9":2,"b":3,"-1":4}'), with_('{"b":3,"-1":4,"9":2,"10":1}')],
  dotted_i: [named("\u0130"), named("\\u0130")],
  dotless_i: [named("\u0131")],
  sharp_s: [named("\u00df")],
  kelvin: [named("\u212a")],
  capital_k: [named("K")],
  long_text: [named("x".repeat(1_024))],
  longer_text: [named("x".repeat(1_025))],
};

const FAR = 4_102_444_800_000;
const T_MS = 1_790_000_000_000;

const FACTS: Facts = {
  v: 1,
  material: "sha256:m",
  keys: [],
  thumbprints: [],
  pep: { id: "gateway", credential: "c", issuer: "https://eu.pdp.example", scopes: ["evaluate"], exp_ms: FAR },
};

/** `decision input core`, or what the door says: never an exception. */
function become(body: string | Uint8Array): string {
  const question = asked(typeof body === "string" ? utf8(body) : body);
  if ("refused" in question) return question.refused;
  const { text } = question;
  const policy = activePolicy({ name: "eu", packs: ["authzen-certification"] });
  const run = { id: "", kind: "implicit", status: "open", members: [], version: 0 } as const;
  const { core } = decide({
    request: JSON.parse(text) as CanonicalRequest,
    input_digest: digestOf(text),
    facts: FACTS,
    facts_digest: digestOf(JSON.stringify(FACTS)),
    policy,
    trust: {
      mode: "active",
      lease_until_ms: FAR,
      revision: 1,
      origins: new Map(),
      own: { incarnation: 1, seq: 0 },
      homes: () => [],
      match: () => [],
    },
    condition: {
      halted: null,
      clock_anomaly: false,
      active_policy: policy.digest,
      unlogged_since_ms: null,
      unanchored_since_ms: null,
      witnessed: true,
    },
    run,
    run_digest: digestOf(JSON.stringify(run)),
    region: "eu",
    at_least: null,
    t_ms: T_MS,
    trust_digest: (matches) => trustDigestOf(matches, sha256),
  });
  return `${core.decision}${core.reason === null ? "" : ` ${core.reason}`} ${core.input} ${digestOf(coreText(core))}`;
}

/** What becomes of every spelling, by group. */
export function outcomes(): Record<string, readonly string[]> {
  return Object.fromEntries(Object.entries(CORPUS).map(([name, texts]) => [name, texts.map(become)]));
}

/** One text for all of it: what engines are compared by. */
export const digestOfOutcomes = (): string => digestOf(JSON.stringify(outcomes()));
