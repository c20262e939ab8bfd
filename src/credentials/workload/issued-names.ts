/**
 * Which names an issuer of access tokens may give. A name means nothing across issuers, and everything here goes by
 * name alone; so each issuer has its own names, listed at its registration (docs/operations/workloads.md).
 */
const WORKLOAD_URI = /^(?:spiffe|wimse):\/\//i;

/**
 * A listed text is one name, compared byte for byte, or, with a `*` at its end, every name that begins with what stands
 * before it. A workload's URI has a trust domain that vouches for it: no prefix reaches it, only its own listing.
 */
export const isIssuedName = (name: string, listed: readonly string[]): boolean =>
  listed.some((one) =>
    one.endsWith("*") ? !WORKLOAD_URI.test(name) && name.startsWith(one.slice(0, -1)) : one === name,
  );

/** Why a text cannot stand in the list; `null`: it can. */
export function issuedNameProblem(text: string): string | null {
  const star = text.indexOf("*");
  if (star === -1) return null;
  if (star === 0 || star !== text.length - 1) return "a * stands at the end of a prefix and nowhere else";
  return WORKLOAD_URI.test(text) ? "a spiffe:// or wimse:// name has to be listed whole" : null;
}
