/** Public half of a signing key (RFC 7517), RSA, EC or OKP, under the name that revokes and verifies by it. */
export type PublicJwk = {
  readonly kty: string;
  readonly crv?: string;
  readonly x?: string;
  readonly y?: string;
  readonly n?: string;
  readonly e?: string;
  readonly kid: string;
  readonly alg: string;
  readonly use: "sig";
};
