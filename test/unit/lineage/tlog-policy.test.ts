import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { concat, utf8 } from "../../../src/base/bytes.ts";
import { formatVerifierKey, verifierKey } from "../../../src/lineage/note-key.ts";
import {
  formatPolicy,
  isQuorum,
  MAX_POLICY_BYTES,
  parsePolicy,
  type TlogPolicy,
} from "../../../src/lineage/tlog-policy.ts";
import { sha } from "./build.ts";
import { keyOf, witnessKey } from "./log-build.ts";

const vkey = (name: string): string => formatVerifierKey(witnessKey(`example.org/${name}`).key);
const LOG = `log ${formatVerifierKey(keyOf("example.org/log").key)}`;
const witness = (name: string): string => `witness ${name} ${vkey(name)}`;

/** The specification's example, with keys. */
const EXAMPLE = `# two organizations
${LOG}

${witness("X1")}
 \t${witness("X2")}\thttps://x2.example.org/
${witness("X3")}  \t
group X-witnesses 2 X1 X2 X3
${witness("Y1")}
${witness("Y2")}
${witness("Y3")}
\t# any of theirs
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
`;

function parsed(text: string): TlogPolicy {
  const policy = parsePolicy(utf8(text), sha);
  if (!policy.ok) throw new Error(`${policy.error.line}: ${policy.error.message}`);
  return policy.value;
}

describe("a policy", () => {
  const policy = parsed(EXAMPLE);

  test("is read, comments and white space aside", () => {
    expect(policy.logs.map(({ key }) => key.name)).toEqual(["example.org/log"]);
    expect(policy.witnesses.map(({ name, url }) => [name, url])).toEqual([
      ["X1", null],
      ["X2", "https://x2.example.org/"],
      ["X3", null],
      ["Y1", null],
      ["Y2", null],
      ["Y3", null],
    ]);
    expect(policy.groups).toEqual([
      { name: "X-witnesses", threshold: 2, members: ["X1", "X2", "X3"] },
      { name: "Y-witnesses", threshold: 1, members: ["Y1", "Y2", "Y3"] },
      { name: "X-and-Y", threshold: 2, members: ["X-witnesses", "Y-witnesses"] },
    ]);
    expect(policy.quorum).toBe("X-and-Y");
  });

  test("is written as a file that says the same", () => expect(parsed(formatPolicy(policy))).toEqual(policy));

  test.each<[string, boolean]>([
    ["", false],
    ["X1 X2", false],
    ["Y1 Y2 Y3 X1", false],
    ["X1 X2 Y3", true],
    ["X1 X2 X3 Y1 Y2 Y3", true],
    ["X1 X1 Y1", false],
    ["X-and-Y", false],
    ["X-witnesses Y-witnesses", false],
    ["none Z1 Z2", false],
  ])("of two X and any Y: %j makes a quorum: %s", (names, quorum) => {
    expect(isQuorum(policy, new Set(names.split(" ")))).toBe(quorum);
  });

  test("counts in nested groups as the definition does, and never loses by one more cosignature", () => {
    const names = policy.witnesses.map(({ name }) => name);
    fc.assert(
      fc.property(fc.subarray(names), fc.constantFrom(...names), (some, more) => {
        const count = (letter: string): number => some.filter((name) => name.startsWith(letter)).length;
        expect(isQuorum(policy, new Set(some))).toBe(count("X") >= 2 && count("Y") >= 1);
        expect(!isQuorum(policy, new Set(some)) || isQuorum(policy, new Set([...some, more]))).toBe(true);
      }),
    );
  });

  test("may ask for no witness, one witness, or have no logs", () => {
    expect(isQuorum(parsed("quorum none\n"), new Set())).toBe(true);
    expect(formatPolicy(parsed("quorum none\n"))).toBe("quorum none\n");
    const single = parsed(`${witness("W")}\nquorum W\n`);
    expect([new Set<string>(), new Set(["W"])].map((set) => isQuorum(single, set))).toEqual([false, true]);
  });

  test("may name keys of types that nobody here verifies", () => {
    const pq = formatVerifierKey(verifierKey("example.org/pq", 0x06, new Uint8Array(1312).fill(3), sha));
    const policy = parsed(`log ${pq}\nwitness pq ${pq}\nquorum pq\n`);
    expect(policy.witnesses[0]!.key.type).toBe(0x06);
  });

  test("has room for 32 of everything, in any script", () => {
    const n = Array.from({ length: 32 }, (_, i) => i);
    const text = [
      ...n.map((i) => `log ${formatVerifierKey(keyOf(`example.org/log${i}`).key)}`),
      ...n.map((i) => `witness Zeugin-ü${i} ${vkey(`w${i}`)}`),
      ...n.map((i) => `group gruppe${i} all Zeugin-ü${i}`),
      "quorum gruppe31\n",
    ].join("\n");
    expect(isQuorum(parsed(text), new Set(["Zeugin-ü31"]))).toBe(true);
    expect(isQuorum(parsed(text), new Set(["Zeugin-u\u030831"]))).toBe(false);
  });
});

describe("is refused by line:", () => {
  const W = witness("W");
  test.each<[string, string, number, string]>([
    ["nothing", "", 0, "no quorum"],
    ["no quorum", `${LOG}\n`, 0, "no quorum"],
    ["no final newline", `${LOG}\nquorum none`, 2, "newline"],
    ["a carriage return", `${LOG}\r\nquorum none\n`, 1, "control"],
    ["DEL", `# \u007f\nquorum none\n`, 1, "control"],
    ["a form feed for white space", `quorum\fnone\n`, 1, "control"],
    ["another keyword", `Log x\nquorum none\n`, 1, "unknown keyword Log"],
    ["a byte order mark", `\ufeffquorum none\n`, 1, "unknown keyword"],
    ["a comment behind an item", `quorum none # really\n`, 1, "quorum line is"],
    ["a log without key", "log\nquorum none\n", 1, "log line is"],
    ["a log with more than a URL", `${LOG} u v\nquorum none\n`, 1, "log line is"],
    ["a bad key", `log a+00000000+AQI=\nquorum none\n`, 1, "32 bytes"],
    ["a log twice", `${LOG}\n${LOG}\nquorum none\n`, 2, "another log"],
    ["a witness without key", "witness W\nquorum none\n", 1, "witness line is"],
    ["a witness with a plain key", `witness W ${LOG.slice(4)}\nquorum none\n`, 1, "cosignature type"],
    ["a witness key twice", `${W}\nwitness V ${vkey("W")}\nquorum W\n`, 2, "another witness"],
    ["a name twice", `${W}\nwitness W ${vkey("V")}\nquorum W\n`, 2, "W is defined already"],
    ["a witness named none", `witness none ${vkey("W")}\nquorum none\n`, 1, "none is defined already"],
    ["a group named none", `${W}\ngroup none any W\nquorum none\n`, 2, "none is defined already"],
    ["a group named as a witness", `${W}\ngroup W any W\nquorum W\n`, 2, "W is defined already"],
    ["none as a member", `${W}\ngroup g any W none\nquorum g\n`, 2, "none is not defined"],
    ["a member defined later", `group g any W\n${W}\nquorum g\n`, 1, "W is not defined"],
    ["a group in itself", `${W}\ngroup g any W g\nquorum g\n`, 2, "g is not defined"],
    ["a member twice", `${W}\ngroup g 2 W W\nquorum g\n`, 2, "W is a member already"],
    ["a member of two groups", `${W}\ngroup g any W\ngroup h any W\nquorum h\n`, 3, "W is a member already"],
    ["a group without members", `group g all\nquorum g\n`, 1, "group line is"],
    ["threshold 0", `${W}\ngroup g 0 W\nquorum g\n`, 2, "threshold"],
    ["a threshold above the members", `${W}\ngroup g 2 W\nquorum g\n`, 2, "threshold"],
    ["a threshold in hex", `${W}\ngroup g 0x1 W\nquorum g\n`, 2, "threshold"],
    ["a threshold in upper case", `${W}\ngroup g ALL W\nquorum g\n`, 2, "threshold"],
    ["an unknown quorum", `${W}\nquorum V\n`, 2, "V is not defined"],
    ["a quorum defined later", `quorum W\n${W}\n`, 1, "W is not defined"],
    ["two quorums", `quorum none\nquorum none\n`, 2, "second quorum"],
    ["two names of a quorum", `${W}\nquorum W W\n`, 2, "quorum line is"],
  ])("%s", (_, text, line, message) => {
    expect(parsePolicy(text, sha)).toEqual({ ok: false, error: { line, message: expect.stringContaining(message) } });
  });

  test("bytes that are not UTF-8, and too many", () => {
    const bad = parsePolicy(concat(Uint8Array.of(0xff), utf8("\n")), sha);
    expect(bad).toEqual({ ok: false, error: { line: 0, message: "not UTF-8" } });
    expect(parsePolicy("#".repeat(MAX_POLICY_BYTES), sha)).toMatchObject({ ok: false, error: { line: 1 } });
    expect(parsePolicy("#".repeat(MAX_POLICY_BYTES + 1), sha)).toMatchObject({ ok: false, error: { line: 0 } });
  });
});
