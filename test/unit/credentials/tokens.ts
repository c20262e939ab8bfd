import { base64url, utf8 } from "../../../src/base/bytes.ts";
import type { Signer } from "../http/region.ts";

/** A compact JWS over exactly these texts, whatever they say: for tokens that no library would make. */
export async function forge(signer: Signer, header: string, payload: string): Promise<string> {
  const input = `${base64url(utf8(header))}.${base64url(utf8(payload))}`;
  const signature = await crypto.subtle.sign("Ed25519", signer.privateKey, utf8(input));
  return `${input}.${base64url(new Uint8Array(signature))}`;
}

/** The same bytes under another spelling: the unused bits of the last character are not zero. */
export function respelled(segment: string): string {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  return segment.slice(0, -1) + alphabet[alphabet.indexOf(segment.at(-1)!) + 1]!;
}
