/**
 * `htu` for comparison (RFC 9449 section 4.3, check 9): without query and fragment, after the syntax-based and
 * scheme-based normalization of RFC 3986 sections 6.2.2 and 6.2.3. `null` for what is not an absolute http(s) URI: user
 * info, a backslash, white space or a stray percent sign is refused and not repaired, as `new URL` would.
 */
export function normalHttpUri(text: string): string | null {
  const match =
    /^(https?):\/\/([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{0,5}))?(\/[!$&-;=@-Z_a-z~%]*)?(?:\?[^\s#]*)?(?:#[^\s]*)?$/i.exec(
      text,
    );
  if (match === null || text.length > MAX_CHARS) return null;
  const [, scheme, host, port, path = "/"] = match as unknown as [string, string, string, string?, string?];
  const lower = scheme.toLowerCase();
  const normalPath = decodeUnreserved(path);
  if (normalPath === null) return null;
  const number = port === undefined || port === "" ? DEFAULT_PORT[lower] : Number(port);
  if (number === undefined || number > 65_535) return null;
  const shownPort = number === DEFAULT_PORT[lower] ? "" : `:${number}`;
  return `${lower}://${host.toLowerCase()}${shownPort}${withoutDots(normalPath)}`;
}

const MAX_CHARS = 2_048;
const DEFAULT_PORT: Readonly<Record<string, number>> = { http: 80, https: 443 };

/** `%7e` is `~`, `%2f` is `%2F` and stays apart from a slash. */
function decodeUnreserved(path: string): string | null {
  if (/%(?![0-9A-Fa-f]{2})/.test(path)) return null;
  return path.replaceAll(/%[0-9A-Fa-f]{2}/g, (escape) => {
    const character = String.fromCharCode(Number.parseInt(escape.slice(1), 16));
    return /[A-Za-z0-9._~-]/.test(character) ? character : escape.toUpperCase();
  });
}

/** RFC 3986 section 5.2.4. */
function withoutDots(path: string): string {
  const out: string[] = [];
  const segments = path.slice(1).split("/");
  for (const [index, segment] of segments.entries()) {
    const last = index === segments.length - 1;
    if (segment === "..") out.pop();
    if (segment !== "." && segment !== "..") out.push(segment);
    else if (last) out.push("");
  }
  return "/" + out.join("/");
}
