import { verify } from "node:crypto";
import type { Verify } from "../../src/lineage/note.ts";

/** What stands before the 32 bytes of a public key in SubjectPublicKeyInfo (RFC 8410). */
const SPKI = Buffer.from("302a300506032b6570032100", "hex");

/** Ed25519 of this Node. */
export const ed25519: Verify = (publicKey, message, signature) =>
  verify(null, message, { key: Buffer.concat([SPKI, publicKey]), format: "der", type: "spki" }, signature);
