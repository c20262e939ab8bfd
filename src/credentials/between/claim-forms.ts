import { z } from "zod";
import { isRegionName } from "../../base/ids.ts";

/** Forms of claims that regions' statements about steps share. */
export const region = z.string().refine(isRegionName);
/** A SHA-256, base64url without padding. */
export const hash = z.string().regex(/^[A-Za-z0-9_-]{43}$/);
/** A key under the secret of a pair of regions (`trust/pseudonym`). */
export const pseudonym = z.string().regex(/^[a-z0-9][a-z0-9-]{0,30}\.[A-Za-z0-9_-]{43}$/);
export const labels = z.array(z.string().min(1).max(128)).max(256);
export const homes = z.array(region).max(256);
