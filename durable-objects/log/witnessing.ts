import { equalBytes } from "../../src/base/bytes.ts";
import { formatAddCheckpoint, readCosignatures, readTreeSize } from "../../src/lineage/add-checkpoint.ts";
import { verifierOf } from "../../src/lineage/cosignature.ts";
import { formatVerifierKey, parseVerifierKey, type VerifierKey } from "../../src/lineage/note-key.ts";
import { formatNote, parseNote, type NoteSignature } from "../../src/lineage/note.ts";
import { isQuorum, parsePolicy, type TlogPolicy } from "../../src/lineage/tlog-policy.ts";
import type { WitnessTarget } from "../../src/objects/log.ts";
import { ed25519Verify, nodeSha256 } from "../platform.ts";
import type { Heard } from "./hearing.ts";
import { askHeld, readAnswer, type Held } from "./held.ts";
import type { Lifetime } from "./lifetime.ts";
import type { LogTree } from "./log-tree.ts";
import type { LogStore } from "./store.ts";

const WITNESS_TIMEOUT_MS = 3_000;
const WITNESS_TRIES = 3;
const UNREACHABLE = "unreachable";

/**
 * Who cosigns, what the policy asks for, and what it means where a witness contradicts the log: one that shows a
 * checkpoint which this log does not continue halts it.
 */
export class Witnessing {
  readonly #store: LogStore;
  readonly #tree: LogTree;
  readonly #life: Lifetime;
  readonly #send: typeof fetch;
  readonly #key: VerifierKey;
  #policy: TlogPolicy | null = null;
  targets: readonly WitnessTarget[];

  /** `key`: of the log. */
  constructor(store: LogStore, tree: LogTree, life: Lifetime, send: typeof fetch, key: VerifierKey) {
    this.#store = store;
    this.#tree = tree;
    this.#life = life;
    this.#send = send;
    this.#key = key;
    this.targets = JSON.parse(store.meta("witnesses") ?? "[]") as WitnessTarget[];
    this.#readPolicy();
  }

  configure(witnesses: readonly WitnessTarget[], policy: string): void {
    this.#store.transaction(() => {
      this.#store.setMeta("witnesses", JSON.stringify(witnesses));
      this.#store.setMeta("policy", policy);
      this.#store.keepWitnesses(witnesses.map(({ vkey }) => vkey.slice(0, vkey.indexOf("+"))));
    });
    this.targets = witnesses;
    this.#readPolicy();
  }

  tlogPolicy(): string {
    return this.#store.meta("policy") ?? `log ${formatVerifierKey(this.#key)}\nquorum none\n`;
  }

  #readPolicy(): void {
    const parsed = parsePolicy(this.tlogPolicy(), nodeSha256);
    if (!parsed.ok)
      console.error(JSON.stringify({ level: "error", event: "tlog_policy", message: parsed.error.message }));
    this.#policy = parsed.ok ? parsed.value : null;
  }

  /** Whether these witnesses, by their names in the policy, are a quorum. */
  isQuorum(names: ReadonlySet<string>): boolean {
    return this.#policy !== null && isQuorum(this.#policy, names);
  }

  get unreached(): boolean {
    return this.#store.witnesses().some(({ problem }) => problem === UNREACHABLE);
  }

  /** How far a source is under a quorum; `null` where the policy asks for none, or cannot be read. */
  anchoredMark(source: string): number | null {
    if (this.#policy === null || this.#policy.quorum === null) return null;
    const size = this.#store.newestAnchored()?.size ?? 0;
    return size === 0 ? 0 : this.#store.markWithin(source, size);
  }

  /** Asks everybody to cosign the checkpoint of `size`, whose text this is. */
  async ask(size: number, text: string): Promise<void> {
    await Promise.all(this.targets.map((target) => this.#ask(target, size, text)));
  }

  /** Where what the witness holds contradicts this log, it is halted by then. */
  async hears(target: WitnessTarget): Promise<Heard> {
    const name = target.vkey.slice(0, target.vkey.indexOf("+"));
    const held = await askHeld(this.#send, target.url, this.#key);
    if (!held.ok) {
      if (held.error.code === "silent") return "silent";
      // One that has cosigned this log, and shows nothing, has said nothing: it may not have the read route.
      return held.error.code === "none" && (this.#store.witness(name)?.size ?? 0) === 0 ? "said" : "useless";
    }
    await this.#judge(name, held.value, "shows a checkpoint", (problem, size) => {
      if (this.#life.halted !== null) this.#store.putWitness({ name, size, t_ms: Date.now(), problem });
    });
    return "said";
  }

  async #ask(target: WitnessTarget, size: number, text: string): Promise<void> {
    const key = parseVerifierKey(target.vkey, nodeSha256);
    if (!key.ok) return;
    const { name } = key.value;
    const report = (known: number, problem: string | null): void =>
      this.#store.putWitness({ name, size: known, t_ms: Date.now(), problem });
    let old = this.#store.witness(name)?.size ?? 0;
    if (old >= size) return;
    for (let tries = 0; tries < WITNESS_TRIES; tries++) {
      if (this.#life.halted !== null) return;
      const row = this.#store.checkpointOf(size);
      if (row === null) return;
      const proof = await this.#tree.reader(size).consistency(old);
      if (!proof.ok) return report(old, proof.error.message);
      const signed = this.#ownSignature(row.note);
      let response: Response;
      let answer: Uint8Array;
      try {
        response = await this.#send(`${target.url}/add-checkpoint`, {
          method: "POST",
          body: formatAddCheckpoint(old, proof.value, formatNote(text, [signed])),
          signal: AbortSignal.timeout(WITNESS_TIMEOUT_MS),
        });
        answer = await readAnswer(response);
      } catch {
        // Lost cosignatures never deny (DESIGN section 9): the next checkpoint asks again.
        return report(old, UNREACHABLE);
      }
      if (response.status === 200) return this.#take(name, key.value, size, text, answer, report);
      // The old size is the one that it holds (else 409), the signature is ours, and the proof comes from our own tiles:
      // it cosigned another history under this key, or it lies. A rewound log that has grown past the size that the
      // witness holds is met here.
      if (response.status === 422)
        return this.#weigh(name, target, "says that it cosigned another history", (problem) => report(old, problem));
      const said = response.status === 409 ? readTreeSize(new TextDecoder().decode(answer.subarray(0, 32))) : null;
      if (said === null)
        return report(old, `status ${response.status}: ${new TextDecoder().decode(answer.subarray(0, 200)).trim()}`);
      // It remembers more of this log than the log does, or it lies.
      if (said > this.#tree.size)
        return this.#weigh(name, target, `says that it knows size ${said}`, (problem) => report(old, problem));
      // A later checkpoint of ours was faster; if it was not ours, the next one to be asked for shows it.
      if (said > size) return;
      old = said;
    }
  }

  /**
   * A witness contradicts this log. Statuses are not signed, so it is believed only where it shows a checkpoint under
   * this log's own key that this log could not have signed: then the log was rewound, or its key signs elsewhere, and
   * nothing is signed over it. Without that the witness has failed, and the others go on.
   */
  async #weigh(name: string, target: WitnessTarget, says: string, report: (problem: string) => void): Promise<void> {
    const held = await askHeld(this.#send, target.url, this.#key);
    if (!held.ok) return report(`${says}, and proves nothing: ${held.error.message}`);
    await this.#judge(name, held.value, says, report);
  }

  async #judge(name: string, held: Held, says: string, report: (problem: string, size: number) => void): Promise<void> {
    const { size, root } = held.checkpoint;
    if (size > this.#tree.size) {
      const detail = `witness ${name} knows size ${size}, and this log has ${this.#tree.size}: it was rewound`;
      this.#life.halt("log_rewound", detail, held.note);
      return report(`knows size ${size}`, 0);
    }
    const own = await this.#tree.rootAt(size);
    if (own === null || equalBytes(own, root))
      return report(`${says}, and shows a checkpoint of size ${size} that this log has too`, size);
    this.#life.halt(
      "log_forked",
      `witness ${name} cosigned another history of this log at size ${size}: it was rewound, or its key signs elsewhere`,
      held.note,
    );
    report("cosigned another history of this log", 0);
  }

  #ownSignature(note: string): NoteSignature {
    const parsed = parseNote(note);
    if (!parsed.ok) throw new Error(parsed.error.message);
    return parsed.value.signatures.find((signature) => signature.name === this.#tree.origin)!;
  }

  /** Stores a verified cosignature with its checkpoint; with a quorum the checkpoint is anchored. */
  async #take(
    name: string,
    key: VerifierKey,
    size: number,
    text: string,
    answer: Uint8Array,
    report: (known: number, problem: string | null) => void,
  ): Promise<void> {
    const verifier = verifierOf(key, ed25519Verify);
    const read = verifier === null ? null : await readCosignatures(answer, text, [verifier]);
    if (read?.ok !== true) return report(0, "its cosignature does not verify");
    const row = this.#store.checkpointOf(size);
    const parsed = row === null ? null : parseNote(row.note);
    if (row === null || parsed?.ok !== true) return;
    const others = parsed.value.signatures.filter((signature) => signature.name !== name);
    const signatures = [...others, ...read.value];
    const cosigned = new Set(
      this.#policy?.witnesses
        .filter((witness) => signatures.some((signature) => signature.name === witness.key.name))
        .map((witness) => witness.name),
    );
    const anchored = this.isQuorum(cosigned) ? 1 : 0;
    this.#store.transaction(() => {
      this.#store.putCheckpoint({ ...row, note: formatNote(text, signatures), anchored });
      report(size, null);
    });
  }
}
