/**
 * Digest over what becomes of the corpus (test/support/determinism.ts): every canonical request and every core. It
 * changes with the corpus, with the pack `authzen-certification`, and with any change of a decision's bytes.
 */
export const DETERMINISM = "sha256:kzOGyodnHzxhK_Me7FQwNOyNjqGCabLCMq1yY-coDkk";
