import { hex, utf8 } from "../base/bytes.ts";
import type { Sha256 } from "../base/digest.ts";

/** Names of a region's log and witness, from its PDP identifier; schema-less, as checkpoint origins are. */
const host = (pdp: string): string => pdp.replace(/^https:\/\//, "");

/** Origin of a region's log, and the name of the key that signs its checkpoints: `<host>/<region>/<log_epoch>`. */
export const logOrigin = (pdp: string, region: string, logEpoch: number): string =>
  `${host(pdp)}/${region}/${logEpoch}`;

/** Name of the key with which a region cosigns its peers' checkpoints. */
export const witnessName = (pdp: string): string => `${host(pdp)}/witness`;

/** How a witness's and a mirror's read routes name a log: lower-case hex SHA-256 of its origin (C2SP tlog-mirror). */
export const originHash = (origin: string, sha: Sha256): string => hex(sha(utf8(origin)));
