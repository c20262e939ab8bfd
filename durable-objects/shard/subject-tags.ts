import { subjectIndexKey, subjectTag } from "../../src/lineage/subject-tag.ts";
import { nodeHmacSha256 } from "../platform.ts";

const TAGS = 4_096;

/** Tags of data subjects, made once for each that keeps coming: an agent asks with every step. */
export class SubjectTags {
  readonly #key: Uint8Array;
  readonly #made = new Map<string, string>();

  constructor(regionKey: Uint8Array) {
    this.#key = subjectIndexKey(regionKey, nodeHmacSha256);
  }

  of(subject: string): string {
    let tag = this.#made.get(subject);
    if (tag === undefined) {
      tag = subjectTag(this.#key, subject, nodeHmacSha256);
      if (this.#made.size >= TAGS) this.#made.clear();
      this.#made.set(subject, tag);
    }
    return tag;
  }
}
