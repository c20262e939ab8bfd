/** What a change that an administrator asks for came to; the codes are those of the admin API (docs/routes.md). */
export type AdminResult<T> =
  | { readonly ok: true; readonly value: T }
  | {
      readonly ok: false;
      readonly code:
        | "not_found"
        | "conflict"
        | "invalid"
        | "joining"
        | "foreign_key"
        | "unchecked"
        | "idempotency_conflict"
        | "wrong_order"
        | "peers_behind";
      readonly message: string;
    };
