import { ROUTES } from "./routes.ts";

type Place = { readonly fits: RegExp; methods: string };

/**
 * What a path that exists takes, as `Allow` lists it; `null` for a path that does not exist. Looked up only after no
 * route matched: a catch-all route at each path would put every request through Hono's middleware chain.
 */
export function allowedMethods(path: string): string | null {
  const place = places().find(({ fits }) => fits.test(path));
  return place === undefined ? null : `${place.methods}, OPTIONS`;
}

let known: readonly Place[] | null = null;

function places(): readonly Place[] {
  if (known !== null) return known;
  const byPath = new Map<string, Place>();
  for (const { method, path } of ROUTES) {
    const methods = method === "GET" ? "GET, HEAD" : method;
    const place = byPath.get(path);
    if (place === undefined) byPath.set(path, { fits: pattern(path), methods });
    else place.methods += `, ${methods}`;
  }
  known = [...byPath.values()];
  return known;
}

/** Parameters that may hold a slash: the item of a batch is `{id}/{index}`, and a tile's name is a path. */
const WIDE: ReadonlySet<string> = new Set([
  "/lineage/v1/decisions/{id}",
  "/lineage/v1/decisions/{id}/proof",
  "/runs/v1/runs/{run}/steps/{id}/outcome",
  "/log/tile/{tile}",
  "/logs/{epoch}/tile/{tile}",
]);

/** Of several parameters the last one is wide. */
const isWide = (path: string, at: number): boolean => WIDE.has(path) && at === path.lastIndexOf("{");

/** `/a/{b}` as Hono writes it. */
export const honoPath = (path: string): string =>
  path.replaceAll(/\{([a-z]+)\}/g, (_, name: string, at: number) => `:${name}${isWide(path, at) ? "{.+}" : ""}`);

const pattern = (path: string): RegExp => {
  const literal = path.replaceAll(/[.]/g, String.raw`\$&`);
  return new RegExp(`^${literal.replaceAll(/\{[a-z]+\}/g, (_, at: number) => (isWide(path, at) ? ".+" : "[^/]+"))}$`);
};
