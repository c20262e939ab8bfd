const VISIBLE_ASCII = /^[!-~]{1,128}$/;

/** The caller's `X-Request-ID`, to be returned with the answer; one that is longer or not visible ASCII is not. */
export function readRequestId(request: Request): string | null {
  const id = request.headers.get("x-request-id");
  return id !== null && VISIBLE_ASCII.test(id) ? id : null;
}
