type Audience = "PEP" | "auditor" | "anyone" | "admin" | "region";

export type Route = {
  readonly operation: string;
  readonly audience: Audience;
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** With `{name}` for a path parameter. */
  readonly path: string;
  /** As in the docs: the scope of a credential, or how two kinds of credential qualify. */
  readonly scope: string | null;
  readonly idempotent: string;
  readonly statuses: readonly number[];
  readonly summary: string;
};
