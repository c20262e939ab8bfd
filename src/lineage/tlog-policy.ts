import { fromUtf8, utf8 } from "../base/bytes.ts";
import type { Sha256 } from "../base/digest.ts";
import { err, ok, type Result } from "../base/result.ts";
import { formatVerifierKey, parseVerifierKey, SIGNATURE_TYPE, type VerifierKey } from "./note-key.ts";
import { controlAt, fromDecimal } from "./text.ts";

/**
 * Whom a verifier trusts (C2SP tlog-policy): logs, witnesses, and the quorum of witnesses that makes a checkpoint
 * count. The file is UTF-8 here; the specification calls other octets legal and unwise.
 */

export type PolicyLog = {
  /** Its name is the origin of the log's checkpoints. */
  readonly key: VerifierKey;
  readonly url: string | null;
};

export type PolicyWitness = {
  /** Within the policy only; the key has its own name. */
  readonly name: string;
  readonly key: VerifierKey;
  readonly url: string | null;
};

export type PolicyGroup = {
  readonly name: string;
  /** Members that must have witnessed, 1 to all. */
  readonly threshold: number;
  /** Witnesses and groups defined before; each is a member of at most one group, so nobody counts twice. */
  readonly members: readonly string[];
};

export type TlogPolicy = {
  readonly logs: readonly PolicyLog[];
  readonly witnesses: readonly PolicyWitness[];
  readonly groups: readonly PolicyGroup[];
  /** A witness or group; `null` asks for no cosignature (`quorum none`). */
  readonly quorum: string | null;
};

export type PolicyProblem = {
  /** From 1; 0 for the file as a whole. */
  readonly line: number;
  readonly message: string;
};

/** Some 300 ML-DSA keys, or 8,000 of Ed25519. */
export const MAX_POLICY_BYTES = 1024 * 1024;

/** The one name that is defined already. */
const NONE = "none";

/** Reads a policy file; the first fault is named with its line. */
export function parsePolicy(source: Uint8Array | string, sha: Sha256): Result<TlogPolicy, PolicyProblem> {
  const bytes = typeof source === "string" ? utf8(source) : source;
  if (bytes.length > MAX_POLICY_BYTES) return at(0, `longer than ${MAX_POLICY_BYTES} bytes`);
  const text = fromUtf8(bytes);
  if (text === null) return at(0, "not UTF-8");
  const lines = text.split("\n");
  // A file cut short may say something else: `quorum all` of `quorum all-regions`.
  if (lines.pop() !== "") return at(lines.length + 1, "does not end in a newline");
  const reader = new PolicyReader(sha);
  for (const [index, line] of lines.entries()) {
    const problem = reader.line(line);
    if (problem !== null) return at(index + 1, problem);
  }
  const policy = reader.policy();
  return policy === null ? at(0, "no quorum line") : ok(policy);
}

const at = (line: number, message: string): Result<never, PolicyProblem> => err({ line, message });

/** Takes the lines in order; names must be defined before they are used. */
class PolicyReader {
  readonly #sha: Sha256;
  readonly #logs: PolicyLog[] = [];
  readonly #witnesses: PolicyWitness[] = [];
  readonly #groups: PolicyGroup[] = [];
  readonly #defined = new Set<string>();
  readonly #members = new Set<string>();
  #quorum: string | undefined;

  constructor(sha: Sha256) {
    this.#sha = sha;
  }

  policy(): TlogPolicy | null {
    if (this.#quorum === undefined) return null;
    const quorum = this.#quorum === NONE ? null : this.#quorum;
    return { logs: this.#logs, witnesses: this.#witnesses, groups: this.#groups, quorum };
  }

  /** What is wrong with the line, or null. */
  line(line: string): string | null {
    if (hasControl(line)) return "holds a control character";
    const [word, ...items] = line.split(/[ \t]+/).filter((item) => item !== "");
    if (word === undefined || word.startsWith("#")) return null;
    switch (word) {
      case "log":
        return this.#log(items);
      case "witness":
        return this.#witness(items);
      case "group":
        return this.#group(items);
      case "quorum":
        return this.#setQuorum(items);
      default:
        return `unknown keyword ${word.slice(0, 40)}`;
    }
  }

  #log([text, url, ...more]: readonly string[]): string | null {
    if (text === undefined || more.length > 0) return "a log line is: log <vkey> [<url>]";
    const key = parseVerifierKey(text, this.#sha);
    if (!key.ok) return key.error.message;
    if (this.#logs.some((log) => sameKey(log.key, key.value))) return "another log has the same public key";
    this.#logs.push({ key: key.value, url: url ?? null });
    return null;
  }

  #witness([name, text, url, ...more]: readonly string[]): string | null {
    if (name === undefined || text === undefined || more.length > 0)
      return "a witness line is: witness <name> <vkey> [<url>]";
    const key = parseVerifierKey(text, this.#sha);
    if (!key.ok) return key.error.message;
    if (key.value.type === SIGNATURE_TYPE.ed25519) return "the key of a witness is of a cosignature type";
    if (this.#witnesses.some((witness) => sameKey(witness.key, key.value)))
      return "another witness has the same public key";
    const taken = this.#define(name);
    if (taken === null) this.#witnesses.push({ name, key: key.value, url: url ?? null });
    return taken;
  }

  #group([name, rule, ...members]: readonly string[]): string | null {
    if (name === undefined || rule === undefined || members.length === 0)
      return "a group line is: group <name> all|any|<k> <name>...";
    const threshold = rule === "all" ? members.length : rule === "any" ? 1 : fromDecimal(rule);
    if (threshold === null || threshold < 1 || threshold > members.length)
      return `the threshold is not all, any or a number from 1 to ${members.length}`;
    for (const member of members) {
      if (!this.#defined.has(member)) return `${member} is not defined before`;
      if (this.#members.has(member)) return `${member} is a member already`;
      this.#members.add(member);
    }
    const taken = this.#define(name);
    if (taken === null) this.#groups.push({ name, threshold, members });
    return taken;
  }

  #setQuorum([name, ...more]: readonly string[]): string | null {
    if (name === undefined || more.length > 0) return "a quorum line is: quorum <name>";
    if (this.#quorum !== undefined) return "a second quorum line";
    if (name !== NONE && !this.#defined.has(name)) return `${name} is not defined before`;
    this.#quorum = name;
    return null;
  }

  #define(name: string): string | null {
    if (name === NONE || this.#defined.has(name)) return `${name} is defined already`;
    this.#defined.add(name);
    return null;
  }
}

/** Tab is the only control character within a line; DEL is another. */
const hasControl = (line: string): boolean => controlAt(line.replaceAll("\t", " ")) >= 0 || line.includes("\u007f");

const sameKey = (a: VerifierKey, b: VerifierKey): boolean =>
  a.public_key.length === b.public_key.length && a.public_key.every((byte, i) => byte === b.public_key[i]);

/** The policy as a file that `parsePolicy` reads back as the same policy. */
export function formatPolicy(policy: TlogPolicy): string {
  const line = (...items: readonly (string | null)[]): string => `${items.filter((item) => item !== null).join(" ")}\n`;
  return [
    ...policy.logs.map(({ key, url }) => line("log", formatVerifierKey(key), url)),
    ...policy.witnesses.map(({ name, key, url }) => line("witness", name, formatVerifierKey(key), url)),
    ...policy.groups.map(({ name, threshold, members }) =>
      line("group", name, thresholdText(threshold, members.length), ...members),
    ),
    line("quorum", policy.quorum ?? NONE),
  ].join("");
}

const thresholdText = (threshold: number, members: number): string =>
  threshold === members ? "all" : threshold === 1 ? "any" : String(threshold);

/** Whether the witnesses named in `cosigned` are a quorum. Names that the policy does not define count for nothing. */
export function isQuorum(policy: TlogPolicy, cosigned: ReadonlySet<string>): boolean {
  if (policy.quorum === null) return true;
  const witnessed = new Set(policy.witnesses.map(({ name }) => name).filter((name) => cosigned.has(name)));
  // Groups stand in order of definition, so the members of each are decided before it.
  for (const { name, threshold, members } of policy.groups) {
    if (members.filter((member) => witnessed.has(member)).length >= threshold) witnessed.add(name);
  }
  return witnessed.has(policy.quorum);
}
