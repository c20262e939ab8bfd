/** RFC 8935 section 2.4; `invalid_state` after SSF 1.0 section 8.1.4. */
export type SetErrorCode =
  | "invalid_request"
  | "invalid_key"
  | "invalid_issuer"
  | "invalid_audience"
  | "authentication_failed"
  | "access_denied"
  | "invalid_state";
