import { base64url, fromBase64url } from "../../../src/base/bytes.ts";
import {
  coverageOf,
  encodeEvidence,
  type DisclosedPayload,
  type Evidence,
  type EvidenceLeaf,
  type EvidenceRecord,
} from "../../../src/lineage/evidence.ts";
import type { EvidenceCode } from "../../../src/lineage/evidence-report.ts";
import { multiProofRanges } from "../../../src/lineage/multi-proof.ts";
import { formatNote, parseNote } from "../../../src/lineage/note.ts";
import { decodeRecord, encodeRecord, leafHash, type LineageRecord } from "../../../src/lineage/record.ts";
import { decodeStateRecord, encodeStateRecord } from "../../../src/lineage/state-record.ts";
import { TileTree } from "../../../src/lineage/tile-reader.ts";
import type { Random } from "../../support/random.ts";
import { bytesOf, digestFor, hashOf, runOf, sha } from "./build.ts";
import { AP, LOG, noteOver, ORIGIN, US, type TestLog } from "./evidence-build.ts";
import { flip, keyOf, readFrom, tileFiles, witnessKey } from "./log-build.ts";

/** What an attacker may start from: two honest bundles of one log, and one of another log of the same region. */
export type World = {
  readonly log: TestLog;
  readonly bundle: Evidence;
  readonly other: Evidence;
  readonly foreign: Evidence;
  readonly random: Random;
};

export type Mutation = {
  readonly name: string;
  /** The verdict that has to name it, by one of these codes. */
  readonly codes: readonly EvidenceCode[];
  /** A bundle that was tampered with, or its text; `null` where this world has nothing to try it on. */
  readonly mutate: (world: World) => Promise<Evidence | string | null> | Evidence | string | null;
  /** Position of the record that the report has to name, where that is certain. */
  readonly names?: true;
};

/** Set by the mutations that touch one record. */
export const touched = { at: -1 };

const pickRecord = ({ bundle, random }: World): readonly [number, EvidenceRecord, LineageRecord] => {
  touched.at = random.int(0, bundle.records.length - 1);
  const record = bundle.records[touched.at]!;
  return [touched.at, record, recordIn(record)];
};

const bytesIn = ({ leaf }: { readonly leaf: string }): Uint8Array => fromBase64url(leaf)!;

function recordIn(entry: EvidenceRecord): LineageRecord {
  const decoded = decodeRecord(bytesIn(entry));
  if (!decoded.ok) throw new Error(decoded.error);
  return decoded.value;
}

const withLeaf = <T extends EvidenceLeaf | EvidenceRecord>(entry: T, bytes: Uint8Array): T => ({
  ...entry,
  hash: base64url(leafHash(bytes, sha)),
  leaf: base64url(bytes),
});

const withRecords = (bundle: Evidence, records: readonly EvidenceRecord[]): Evidence => recount({ ...bundle, records });

/** The statement that fits what is here: an attacker would correct it. */
function recount(bundle: Evidence): Evidence {
  const last = bundle.records.at(-1);
  const decoded = last === undefined ? null : decodeRecord(bytesIn(last));
  const note = parseNote(bundle.checkpoint ?? "");
  const size = note.ok ? Number(note.value.text.split("\n")[1]) : 0;
  return { ...bundle, coverage: coverageOf(bundle.records, size, decoded?.ok === true ? decoded.value.seq : 0) };
}

const leavesOf = ({ records, erasures, head }: Evidence): (EvidenceLeaf | EvidenceRecord)[] => [
  ...records,
  ...erasures,
  ...(head === null ? [] : [head]),
];

/** The proof that belongs to the bundle's indexes, out of a tree over `hashes`: tiles are public. */
async function reprove(bundle: Evidence, hashes: readonly Uint8Array[]): Promise<Evidence> {
  const size = hashes.length;
  const tree = new TileTree(size, readFrom(tileFiles(hashes)), sha);
  const indexes = [
    ...new Set(leavesOf(bundle).flatMap(({ index }) => (index !== null && index < size ? [index] : []))),
  ].sort((a, b) => a - b);
  const proof: string[] = [];
  for (const range of multiProofRanges(indexes, size)) {
    const node = await tree.range(range);
    if (!node.ok) throw new Error(node.error.message);
    proof.push(base64url(node.value));
  }
  return { ...bundle, proof };
}

const honest = (world: World, bundle: Evidence): Promise<Evidence> =>
  reprove(bundle, world.log.hashes(world.log.leaves.length));

/** A value of the right form that is not the one there. */
function otherValue(field: string, record: LineageRecord, random: Random): unknown {
  const salt = random.int(0, 1_000_000);
  switch (field) {
    case "core":
    case "policy":
      return digestFor(field, salt);
    case "commit":
      return { ...record.commit, [random.pick(["facts", "input", "run"])]: hashOf("commit", salt) };
    case "trust":
      return { ...record.trust, revision: record.trust.revision + 1 };
    case "engine":
      return `interlock/9.${salt}`;
    case "parents":
      return [...record.parents, hashOf("parent", salt)];
    case "reason":
      return record.reason === null ? null : "other_reason";
    case "t":
      return record.t + random.pick([-1, 1, 1000]);
    default:
      return "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  }
}

const FIELDS = ["core", "policy", "commit", "trust", "engine", "parents", "reason", "t", "traceparent"];

/** The record with one member changed, still of the format. */
function edited(record: LineageRecord, random: Random): LineageRecord | null {
  if (random.chance(0.3) && record.kind === "decision") {
    const allow = record.decision === "deny";
    return { ...record, decision: allow ? "allow" : "deny", reason: allow ? null : "policy_denied" };
  }
  const field = random.pick(FIELDS);
  const changed = { ...record, [field]: otherValue(field, record, random) };
  return JSON.stringify(changed) === JSON.stringify(record) ? null : changed;
}

/** From record `from` on another history, well chained, head included: what the region itself could write. */
function forkedAt(bundle: Evidence, from: number, random: Random): Evidence | null {
  const records: EvidenceRecord[] = [];
  const renamed = new Map<string, string>();
  for (const [at, entry] of bundle.records.entries()) {
    if (at < from) {
      records.push(entry);
      continue;
    }
    const record = recordIn(entry);
    const refers = record.refers === null ? null : (renamed.get(record.refers) ?? record.refers);
    const base = at === from ? edited(record, random) : record;
    if (base === null || (at === from && base.t < record.t)) return null;
    const bytes = encodeRecord({ ...base, prev: records.at(-1)?.hash ?? null, refers });
    const forged = withLeaf({ ...entry, payload: "undisclosed" as const }, bytes);
    renamed.set(entry.hash, forged.hash);
    records.push(forged);
  }
  const head = bundle.head === null ? null : decodeStateRecord(bytesIn(bundle.head));
  if (head?.ok !== true) return null;
  const body = { ...head.value.body, head: records.at(-1)!.hash };
  return withRecords({ ...bundle, head: withLeaf(bundle.head!, encodeStateRecord({ ...head.value, body })) }, records);
}

/** The forked bundle with a tree of its own. */
async function rehashed(
  { bundle, log, random }: World,
  note: (hashes: readonly Uint8Array[]) => Promise<string>,
): Promise<Evidence | null> {
  const fork = forkedAt(bundle, random.int(0, bundle.records.length - 1), random);
  if (fork === null) return null;
  const hashes = log.hashes(log.leaves.length);
  for (const { index, hash } of leavesOf(fork)) hashes[index!] = fromBase64url(hash)!;
  return reprove({ ...fork, checkpoint: await note(hashes) }, hashes);
}

/** The signature lines of the honest checkpoint under another text. */
function resigned(checkpoint: string, forged: string, which: (name: string) => boolean): string {
  const [from, to] = [parseNote(checkpoint), parseNote(forged)];
  if (!from.ok || !to.ok) throw new Error("no note");
  const lines = from.value.signatures.filter(({ name }) => which(name));
  return formatNote(to.value.text, [...to.value.signatures, ...lines]);
}

const signaturesOf = (checkpoint: string) => {
  const note = parseNote(checkpoint);
  if (!note.ok) throw new Error(note.error.message);
  return note.value;
};

const disclosed = (world: World): readonly [number, EvidenceRecord, DisclosedPayload] | null => {
  const [at, record] = pickRecord(world);
  return typeof record.payload === "string" ? null : [at, record, record.payload];
};

const setRecord = (bundle: Evidence, at: number, members: Partial<EvidenceRecord>): Evidence =>
  recount({ ...bundle, records: bundle.records.with(at, { ...bundle.records[at]!, ...members }) });

const PARTS = ["facts", "input", "run_state"] as const;
const FORMAT = ["malformed", "schema", "not_canonical", "not_utf8"] as const;

/** Offsets of the file that prove nothing: what the exporter says of time and policy. */
function informs(text: string, at: number): boolean {
  const policy = text.lastIndexOf('"policy":') + 9;
  const time = text.lastIndexOf('"exported_at_ms":') + 17;
  return (at >= policy && at < text.lastIndexOf(',"proof":')) || (at >= time && at < text.indexOf(",", time));
}

export const MUTATIONS: readonly Mutation[] = [
  // ── the file ────────────────────────────────────────────────────────────────────────────────────────────────────
  {
    name: "any character of the file changed",
    codes: [],
    mutate({ bundle, random }) {
      const text = encodeEvidence(bundle);
      const at = random.int(0, text.length - 1);
      if (informs(text, at)) return null;
      const put = random.pick('aAzZ09-_",:{}[] \n+/=\\\u0000é'.split(""));
      return text[at] === put ? null : text.slice(0, at) + put + text.slice(at + 1);
    },
  },
  {
    name: "the file cut off",
    codes: FORMAT,
    mutate({ bundle, random }) {
      const text = encodeEvidence(bundle);
      return text.slice(0, random.int(0, text.length - 1));
    },
  },
  {
    name: "a member dropped, added or of another type",
    codes: FORMAT,
    mutate({ bundle, random }) {
      const [where, target] = random.pick([
        ["", bundle],
        ["records", bundle.records[0]!],
        ["coverage", bundle.coverage],
      ] as const);
      const members = Object.entries(target);
      const at = random.int(0, members.length - 1);
      const changed = Object.fromEntries(
        random.pick([
          members.toSpliced(at, 1),
          [...members, ["zz", 1]],
          members.with(at, [members[at]![0], random.pick([true, 1.5, -1])]),
        ]),
      ) as unknown;
      const next =
        where === ""
          ? changed
          : { ...bundle, [where]: where === "records" ? [changed, ...bundle.records.slice(1)] : changed };
      return JSON.stringify(next) + "\n";
    },
  },

  // ── a leaf ──────────────────────────────────────────────────────────────────────────────────────────────────────
  {
    name: "a bit of a leaf flipped",
    codes: ["leaf_hash"],
    names: true,
    mutate(world) {
      const [at, record] = pickRecord(world);
      const bytes = bytesIn(record);
      return setRecord(world.bundle, at, { leaf: base64url(flip(bytes, world.random.int(0, bytes.length * 8 - 1))) });
    },
  },
  {
    name: "a bit of a leaf flipped, its hash corrected",
    codes: ["not_included"],
    names: true,
    mutate(world) {
      const [at, record] = pickRecord(world);
      const bytes = bytesIn(record);
      const bad = flip(bytes, world.random.int(0, bytes.length * 8 - 1));
      return setRecord(world.bundle, at, withLeaf(record, bad));
    },
  },
  {
    name: "a member of a record changed",
    codes: ["leaf_hash"],
    names: true,
    mutate(world) {
      const [at, , record] = pickRecord(world);
      const changed = edited(record, world.random);
      return changed && setRecord(world.bundle, at, { leaf: base64url(encodeRecord(changed)) });
    },
  },
  {
    name: "a member of a record changed, its hash corrected",
    codes: ["not_included"],
    names: true,
    mutate(world) {
      const [at, entry, record] = pickRecord(world);
      const changed = edited(record, world.random);
      return changed && setRecord(world.bundle, at, withLeaf(entry, encodeRecord(changed)));
    },
  },
  {
    name: "a hash changed",
    codes: ["leaf_hash"],
    names: true,
    mutate(world) {
      const [at] = pickRecord(world);
      return setRecord(world.bundle, at, { hash: hashOf("another", world.random.int(0, 1_000_000)) });
    },
  },
  {
    name: "an index changed",
    codes: ["not_included", "index_order", "unanchored"],
    mutate(world) {
      const [at, record] = pickRecord(world);
      const index = world.random.pick([null, record.index! - 1, record.index! + 1, 2 ** 53 - 1]);
      return index !== null && index < 0 ? null : setRecord(world.bundle, at, { index });
    },
  },
  {
    name: "an index changed, the proof made again",
    codes: ["not_included", "index_order", "unanchored"],
    mutate(world) {
      const [at, record] = pickRecord(world);
      const index = world.random.pick([null, record.index! - 1, record.index! + 1]);
      if (index !== null && index < 0) return null;
      return honest(world, setRecord(world.bundle, at, { index }));
    },
  },

  // ── the run ─────────────────────────────────────────────────────────────────────────────────────────────────────
  {
    name: "a record dropped",
    codes: ["seq_missing"],
    mutate(world) {
      const [at] = pickRecord(world);
      return withRecords(world.bundle, world.bundle.records.toSpliced(at, 1));
    },
  },
  {
    name: "a record dropped, the proof made again",
    codes: ["seq_missing"],
    mutate(world) {
      const [at] = pickRecord(world);
      return honest(world, withRecords(world.bundle, world.bundle.records.toSpliced(at, 1)));
    },
  },
  {
    name: "the end cut off",
    codes: ["seq_missing"],
    mutate(world) {
      const { bundle, random } = world;
      return honest(world, withRecords(bundle, bundle.records.slice(0, random.int(1, bundle.records.length - 1))));
    },
  },
  {
    name: "the end and the head cut off",
    codes: ["head_missing"],
    mutate(world) {
      const { bundle, random } = world;
      const records = bundle.records.slice(0, random.int(1, bundle.records.length));
      return honest(world, withRecords({ ...bundle, head: null }, records));
    },
  },
  {
    name: "the beginning cut off",
    codes: ["seq_missing"],
    mutate(world) {
      const { bundle, random } = world;
      return honest(world, withRecords(bundle, bundle.records.slice(random.int(1, bundle.records.length - 1))));
    },
  },
  {
    name: "all records taken away",
    codes: ["no_records"],
    mutate: (world) => honest(world, withRecords(world.bundle, [])),
  },
  {
    name: "two records exchanged",
    codes: ["reordered"],
    mutate({ bundle, random }) {
      const at = random.int(1, bundle.records.length - 1);
      const before = random.int(0, at - 1);
      const records = [...bundle.records];
      [records[at], records[before]] = [records[before]!, records[at]!];
      return withRecords(bundle, records);
    },
  },
  {
    name: "a record twice",
    codes: ["duplicate", "reordered"],
    mutate(world) {
      const [at, record] = pickRecord(world);
      const to = world.random.int(at + 1, world.bundle.records.length);
      return honest(world, withRecords(world.bundle, world.bundle.records.toSpliced(to, 0, record)));
    },
  },
  {
    name: "a record of another run in its place",
    codes: ["foreign"],
    mutate(world) {
      const [at] = pickRecord(world);
      const other = world.random.pick(world.other.records);
      return honest(world, withRecords(world.bundle, world.bundle.records.with(at, other)));
    },
  },
  {
    name: "a record of another log in its place",
    codes: ["not_included"],
    mutate(world) {
      const [at, { index }] = pickRecord(world);
      const other = world.foreign.records[at];
      return other === undefined ? null : setRecord(world.bundle, at, { ...other, index });
    },
  },
  {
    name: "another run's id, or another salt",
    codes: ["run_mismatch"],
    mutate({ bundle, random }) {
      const salt = base64url(bytesOf("salt", random.int(3, 1_000)).subarray(0, 16));
      return {
        ...bundle,
        run: random.pick([
          { ...bundle.run!, id: runOf(random.int(3, 99)).id },
          { ...bundle.run!, salt },
        ]),
      };
    },
  },
  {
    name: "another region, epoch or origin",
    codes: ["foreign", "origin_mismatch"],
    mutate: ({ bundle, random }) => ({
      ...bundle,
      ...random.pick([{ region: "us" }, { log_epoch: 2 }, { origin: `${ORIGIN}x` }]),
    }),
  },

  // ── the head ────────────────────────────────────────────────────────────────────────────────────────────────────
  {
    name: "the head of another run",
    codes: ["head_other_run"],
    mutate: (world) => honest(world, { ...world.bundle, head: world.other.head }),
  },
  {
    name: "the head of another log",
    codes: ["not_included"],
    mutate({ bundle, foreign }) {
      return { ...bundle, head: { ...foreign.head!, index: bundle.head!.index } };
    },
  },
  {
    name: "a head that counts differently",
    codes: ["not_included"],
    mutate({ bundle, random }) {
      const head = decodeStateRecord(bytesIn(bundle.head!));
      if (!head.ok) throw new Error(head.error);
      const { seq } = head.value.body as { readonly seq: number };
      const body = { ...head.value.body, ...random.pick([{ seq: seq + 1 }, { seq: seq - 1 }, { head: hashOf("x") }]) };
      return { ...bundle, head: withLeaf(bundle.head!, encodeStateRecord({ ...head.value, body })) };
    },
  },
  {
    name: "a heartbeat for a head",
    codes: ["foreign"],
    mutate(world) {
      const genesis = world.log.leaves[0]!.bytes;
      return honest(world, { ...world.bundle, head: withLeaf({ ...world.bundle.head!, index: 0 }, genesis) });
    },
  },
  {
    name: "a bit of the head flipped",
    codes: ["leaf_hash"],
    mutate({ bundle, random }) {
      const bytes = bytesIn(bundle.head!);
      const leaf = base64url(flip(bytes, random.int(0, bytes.length * 8 - 1)));
      return { ...bundle, head: { ...bundle.head!, leaf } };
    },
  },
  {
    name: "an old head with the records that follow it",
    codes: ["head_behind"],
    mutate(world) {
      const old = world.log.heads.find(({ run, seq }) => run === 1 && seq < world.bundle.records.length);
      if (old === undefined) return null;
      const head = withLeaf({ ...world.bundle.head!, index: old.index }, world.log.leaves[old.index]!.bytes);
      return honest(world, { ...world.bundle, head });
    },
  },

  // ── the tree ────────────────────────────────────────────────────────────────────────────────────────────────────
  {
    name: "a fork under the honest checkpoint",
    codes: ["not_included"],
    mutate: ({ bundle, random }) => forkedAt(bundle, random.int(0, bundle.records.length - 1), random),
  },
  {
    name: "a fork with a tree of its own, unsigned by the log",
    codes: ["untrusted"],
    mutate: (world) => rehashed(world, (hashes) => noteOver(hashes, keyOf(ORIGIN, 1, bytesOf("stranger")), [])),
  },
  {
    name: "a fork with a tree of its own under the old signatures",
    codes: ["untrusted"],
    mutate: (world) =>
      rehashed(world, async (hashes) =>
        resigned(world.bundle.checkpoint!, await noteOver(hashes, keyOf(ORIGIN, 1, bytesOf("stranger"))), () => true),
      ),
  },
  {
    name: "a fork that the log signed",
    codes: ["untrusted"],
    mutate: (world) => rehashed(world, (hashes) => noteOver(hashes, LOG, [])),
  },
  {
    name: "a fork that the log and one witness signed",
    codes: ["untrusted"],
    mutate: (world) => rehashed(world, (hashes) => noteOver(hashes, LOG, [world.random.pick([US, AP])])),
  },
  {
    name: "a fork that the log signed, under the old cosignatures",
    codes: ["untrusted"],
    mutate: (world) =>
      rehashed(world, async (hashes) =>
        resigned(world.bundle.checkpoint!, await noteOver(hashes, LOG, []), (name) => name !== ORIGIN),
      ),
  },
  {
    name: "a fork that the log and strangers signed",
    codes: ["untrusted"],
    mutate: (world) =>
      rehashed(world, (hashes) => noteOver(hashes, LOG, [witnessKey("one.example"), witnessKey("two.example")])),
  },
  {
    name: "a fork that the log signed, cosigned by other keys under the witnesses' names",
    codes: ["untrusted"],
    mutate: (world) =>
      rehashed(world, (hashes) =>
        noteOver(hashes, LOG, [keyOf(US.key.name, 4, bytesOf("x")), keyOf(AP.key.name, 4, bytesOf("y"))]),
      ),
  },
  {
    name: "the proof of another bundle",
    codes: ["not_included"],
    mutate({ bundle, other, foreign, random }) {
      const { proof } = random.pick([other, foreign]);
      return proof.join() === bundle.proof.join() ? null : { ...bundle, proof };
    },
  },
  {
    name: "a hash of the proof changed, dropped, added or exchanged",
    codes: ["not_included"],
    mutate({ bundle: { proof, ...bundle }, random }) {
      const at = random.int(0, proof.length);
      const next = random.pick([
        proof.toSpliced(at, 1),
        proof.toSpliced(at, 0, proof[0] ?? hashOf("node")),
        proof.toSpliced(at, 1, hashOf("node")),
        proof.toReversed(),
      ]);
      return next.join() === proof.join() ? null : { ...bundle, proof: next };
    },
  },

  // ── the checkpoint ──────────────────────────────────────────────────────────────────────────────────────────────
  {
    name: "an old checkpoint",
    codes: ["not_included", "head_not_covered"],
    async mutate({ bundle, log, random }) {
      const size = random.int(0, bundle.head!.index);
      return recount({ ...bundle, checkpoint: await noteOver(log.hashes(size)) });
    },
  },
  {
    name: "an old checkpoint, the proof made again",
    codes: ["head_not_covered"],
    async mutate({ bundle, log, random }) {
      const hashes = log.hashes(random.int(0, bundle.head!.index));
      return reprove(recount({ ...bundle, checkpoint: await noteOver(hashes) }), hashes);
    },
  },
  {
    name: "the checkpoint of another log",
    codes: ["not_included"],
    mutate: ({ bundle, foreign }) => recount({ ...bundle, checkpoint: foreign.checkpoint }),
  },
  {
    name: "no checkpoint",
    codes: ["no_checkpoint"],
    mutate: ({ bundle }) => recount({ ...bundle, checkpoint: null, proof: [] }),
  },
  {
    name: "a signature dropped",
    codes: ["untrusted"],
    mutate({ bundle, random }) {
      const { text, signatures } = signaturesOf(bundle.checkpoint!);
      return {
        ...bundle,
        checkpoint: formatNote(text, signatures.toSpliced(random.int(0, signatures.length - 1), 1)),
      };
    },
  },
  {
    name: "a bit of a signature flipped",
    codes: ["untrusted"],
    mutate({ bundle, random }) {
      const { text, signatures } = signaturesOf(bundle.checkpoint!);
      const at = random.int(0, signatures.length - 1);
      const line = signatures[at]!;
      const signature = flip(line.signature, random.int(0, line.signature.length * 8 - 1));
      return { ...bundle, checkpoint: formatNote(text, signatures.with(at, { ...line, signature })) };
    },
  },
  {
    name: "a signature under another's name or key",
    codes: ["untrusted"],
    mutate({ bundle, random }) {
      const { text, signatures } = signaturesOf(bundle.checkpoint!);
      const at = random.int(0, signatures.length - 1);
      const to = signatures[(at + 1) % signatures.length]!;
      const line = {
        ...signatures[at]!,
        ...random.pick([{ name: to.name, key_id: to.key_id }, { name: "x" }, { key_id: 1 }]),
      };
      return { ...bundle, checkpoint: formatNote(text, signatures.with(at, line)) };
    },
  },
  {
    name: "one witness twice instead of two",
    codes: ["untrusted"],
    async mutate({ bundle, log, random }) {
      const one = random.pick([US, AP]);
      return { ...bundle, checkpoint: await noteOver(log.hashes(log.leaves.length), LOG, [one, one]) };
    },
  },

  // ── payloads, erasure, statement ────────────────────────────────────────────────────────────────────────────────
  {
    name: "an opened text edited",
    codes: ["commitment_mismatch"],
    names: true,
    mutate(world) {
      const chosen = disclosed(world);
      if (chosen === null) return null;
      const [at, , payload] = chosen;
      const part = world.random.pick(PARTS);
      const { text, salt } = payload[part]!;
      const cut = world.random.int(0, text.length - 1);
      const other = world.random.pick([
        text.slice(0, cut) + text.slice(cut + 1),
        `${text.slice(0, cut)}_${text.slice(cut)}`,
      ]);
      return setRecord(world.bundle, at, { payload: { ...payload, [part]: { salt, text: other } } });
    },
  },
  {
    name: "what a decision saw edited, taken away or put there",
    codes: ["commitment_mismatch"],
    names: true,
    mutate(world) {
      const chosen = disclosed(world);
      if (chosen === null) return null;
      const [at, , { seen, ...payload }] = chosen;
      if (seen === undefined) return setRecord(world.bundle, at, { payload: { ...payload, seen: `{"v":1}` } });
      const cut = world.random.int(0, seen.length - 1);
      const other = world.random.pick([{}, { seen: `${seen.slice(0, cut)}_${seen.slice(cut)}` }]);
      return setRecord(world.bundle, at, { payload: { ...payload, ...other } });
    },
  },
  {
    name: "a salt edited",
    codes: ["commitment_mismatch"],
    names: true,
    mutate(world) {
      const chosen = disclosed(world);
      if (chosen === null) return null;
      const [at, , payload] = chosen;
      const part = world.random.pick(PARTS);
      const salt = base64url(flip(fromBase64url(payload[part]!.salt)!, world.random.int(0, 255)));
      return setRecord(world.bundle, at, { payload: { ...payload, [part]: { ...payload[part]!, salt } } });
    },
  },
  {
    name: "a part of a payload in the place of another",
    codes: ["commitment_mismatch"],
    names: true,
    mutate(world) {
      const chosen = disclosed(world);
      if (chosen === null) return null;
      const [at, , payload] = chosen;
      return setRecord(world.bundle, at, { payload: { ...payload, facts: payload.input, input: payload.facts } });
    },
  },
  {
    name: "the payload of another record",
    codes: ["commitment_mismatch", "core_mismatch"],
    names: true,
    mutate(world) {
      const chosen = disclosed(world);
      if (chosen === null) return null;
      const other = world.bundle.records[(chosen[0] + 1) % world.bundle.records.length]!.payload;
      return typeof other === "string" ? null : setRecord(world.bundle, chosen[0], { payload: other });
    },
  },
  {
    name: "a core edited",
    codes: ["core_mismatch"],
    names: true,
    mutate(world) {
      const chosen = disclosed(world);
      if (chosen === null) return null;
      const core = chosen[2].core!.replace(/"t_ms":\d+/, '"t_ms":1');
      return setRecord(world.bundle, chosen[0], { payload: { ...chosen[2], core } });
    },
  },
  {
    name: "a payload said to be erased",
    codes: ["erasure_unproven"],
    names: true,
    mutate(world) {
      const chosen = disclosed(world);
      return chosen && setRecord(world.bundle, chosen[0], { payload: "erased" });
    },
  },
  {
    name: "the erasure leaf taken away",
    codes: ["erasure_unproven"],
    mutate(world) {
      return world.bundle.erasures.length === 0 ? null : honest(world, { ...world.bundle, erasures: [] });
    },
  },
  {
    name: "another leaf for the erasure leaf",
    codes: ["foreign"],
    mutate(world) {
      const { bundle, log } = world;
      if (bundle.erasures.length === 0) return null;
      return honest(world, {
        ...bundle,
        erasures: [withLeaf({ ...bundle.erasures[0]!, index: 0 }, log.leaves[0]!.bytes)],
      });
    },
  },
  {
    name: "an erasure leaf that is not in the log",
    codes: ["not_included"],
    mutate(world) {
      const chosen = disclosed(world);
      if (chosen === null) return null;
      const head = decodeStateRecord(bytesIn(world.bundle.head!));
      if (!head.ok) throw new Error(head.error);
      const { source, sseq } = recordIn(chosen[1]);
      const body = { ground: "none", records: [{ source, sseq }] };
      const forged = withLeaf(world.bundle.head!, encodeStateRecord({ ...head.value, kind: "erasure", body }));
      const bundle = setRecord(world.bundle, chosen[0], { payload: "erased" });
      return honest(world, { ...bundle, erasures: [...bundle.erasures, { ...forged, index: 0 }] });
    },
  },
  {
    name: "the statement of coverage changed",
    codes: ["coverage_mismatch"],
    mutate({ bundle, random }) {
      const member = random.pick(Object.keys(bundle.coverage) as (keyof Evidence["coverage"])[]);
      const coverage = { ...bundle.coverage, [member]: bundle.coverage[member] + random.int(1, 3) };
      return { ...bundle, coverage };
    },
  },
];
