import { homeInKey, parseKey, type CanonicalKey } from "./keys.ts";

/**
 * What the membership says about whose word counts for which key (DESIGN section 5), as plain data: the authority
 * hands it to its shards, the sync core takes it as a parameter.
 */
export type FederationView = {
  /** Version of the membership. */
  readonly version: number;
  readonly self: string;
  readonly regions: readonly { readonly region: string; readonly state: MemberState }[];
  /**
   * Home of entities. A name with a `/` is the beginning of a canonical form (`account/eu-`, and `*` for any type:
   * `*` + `/eu-`); without one it is a domain: the host of a URI id (`spiffe://bank.example/payer`), or what follows the
   * last `@` (`alice@bank.example`). The longest beginning wins, and any beginning wins over a domain.
   */
  readonly domains: Readonly<Record<string, string>>;
  /** Issuer URI or SPIFFE trust domain → region. */
  readonly issuers: Readonly<Record<string, string>>;
  /** Thumbprint of a key → region. */
  readonly keys: Readonly<Record<string, string>>;
  /** Region → kinds of key (or `*`) that it may also revoke where it is not their home. */
  readonly may_revoke: Readonly<Record<string, readonly string[]>>;
};

export type MemberState = "joining" | "active" | "draining" | "removed";

const CACHE = 8_192;

/** The view compiled for the decision path: both questions are answered from memory. */
export class Federation {
  readonly view: FederationView;
  /** Regions that serve, and this one. */
  readonly all: readonly string[];
  /**
   * Home of whatever nobody lists: all that serve, and those that were removed. A removed region says nothing new, but
   * who lacks its last event may lack a revocation that others already count on.
   */
  readonly #everybody: readonly string[];
  readonly #beginnings: readonly (readonly [string, string])[];
  readonly #homes = new Map<string, readonly string[]>();

  constructor(view: FederationView) {
    this.view = view;
    const serving = view.regions.filter(({ state }) => state === "active" || state === "draining");
    this.all = [...new Set([view.self, ...serving.map(({ region }) => region)])].sort();
    const removed = view.regions.filter(({ state }) => state === "removed");
    this.#everybody = [...new Set([...this.all, ...removed.map(({ region }) => region)])].sort();
    this.#beginnings = Object.entries(view.domains)
      .filter(([name]) => name.includes("/"))
      .sort(([a], [b]) => specificity(b) - specificity(a) || (a < b ? -1 : 1));
  }

  /** Regions whose freshness a decision resting on the canonical key needs. Total: never empty. */
  homes(text: string): readonly string[] {
    let homes = this.#homes.get(text);
    if (homes === undefined) {
      const key = parseKey(text);
      const home = key.ok ? this.#home(key.value) : null;
      homes = home === null ? this.#everybody : [home];
      if (this.#homes.size >= CACHE) this.#homes.clear();
      this.#homes.set(text, homes);
    }
    return homes;
  }

  /** The one region that the key is at home in; `null`: everybody is home of it. */
  home(text: string): string | null {
    const homes = this.homes(text);
    return homes === this.#everybody ? null : homes[0]!;
  }

  /** The region that membership or the key itself names; `null`: everybody is home. */
  homeOf(text: string): string | null {
    const homes = this.homes(text);
    return homes === this.#everybody ? null : homes[0]!;
  }

  /** `binds` of a key of which only kind and home (`homeOf`) are known. */
  bindsAt(origin: string, kind: string, home: string | null): boolean {
    if (origin === this.view.self || home === null || home === origin) return true;
    const kinds = Object.hasOwn(this.view.may_revoke, origin) ? this.view.may_revoke[origin]! : [];
    return kinds.includes("*") || kinds.includes(kind);
  }

  /** Whether an entry of `origin` about the key counts here: its own, its home's, or that of one that may. */
  binds(origin: string, key: string): boolean {
    if (origin === this.view.self) return true;
    // What everybody is home of, everybody may revoke; and what a region that was removed since revoked, stays.
    const homes = this.homes(key);
    if (homes === this.#everybody || homes.includes(origin)) return true;
    const kinds = Object.hasOwn(this.view.may_revoke, origin) ? this.view.may_revoke[origin]! : [];
    return kinds.includes("*") || kinds.includes(key.slice(0, key.indexOf(":")));
  }

  #home(key: CanonicalKey): string | null {
    const named = homeInKey(key);
    if (named !== null) return named;
    switch (key.kind) {
      case "key":
        return own(this.view.keys, key.form);
      case "issuer":
      case "trust-domain":
        return this.#issuer(key.form);
      case "credential":
      case "session":
      case "attestation-policy":
        return this.#issuer(key.form.slice(0, key.form.indexOf("#")));
      case "subject":
      case "resource":
      case "consent":
        return this.#entity(key.form);
      default:
        return null;
    }
  }

  #issuer(issuer: string): string | null {
    return own(this.view.issuers, issuer) ?? domainHome(this.view.domains, issuer);
  }

  #entity(form: string): string | null {
    const anyType = `*${form.slice(form.indexOf("/"))}`;
    const found = this.#beginnings.find(([name]) => form.startsWith(name) || anyType.startsWith(name));
    return found?.[1] ?? domainHome(this.view.domains, form.slice(form.indexOf("/") + 1));
  }
}

const own = (table: Readonly<Record<string, string>>, name: string): string | null =>
  Object.hasOwn(table, name) ? table[name]! : null;

/** `*` says less than a type of any length. */
const specificity = (name: string): number => (name.startsWith("*/") ? name.length : 4_096 + name.length);

function domainHome(domains: Readonly<Record<string, string>>, id: string): string | null {
  const host = /^[a-z][a-z0-9+.-]*:\/\/([^/?#@]+)/.exec(id)?.[1] ?? /@([^@]+)$/.exec(id)?.[1] ?? null;
  return host === null ? null : own(domains, host);
}
