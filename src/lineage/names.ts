/** Names of a region's log and witness, from its PDP identifier; schema-less, as checkpoint origins are. */
const host = (pdp: string): string => pdp.replace(/^https:\/\//, "");

/** Origin of a region's log, and the name of the key that signs its checkpoints: `<host>/<region>/<log_epoch>`. */
export const logOrigin = (pdp: string, region: string, logEpoch: number): string =>
  `${host(pdp)}/${region}/${logEpoch}`;

/** Name of the key with which a region cosigns its peers' checkpoints. */
export const witnessName = (pdp: string): string => `${host(pdp)}/witness`;
