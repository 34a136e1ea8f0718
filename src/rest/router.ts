import type { Binding } from "./binding.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { MethodNotAllowed, UnknownPath } from "./errors.ts";
import { nearest } from "#src/json/nearest.ts";
import { match, shapeOf, type Template } from "./template.ts";

/** The binding that serves a request, and the values of its template's variables. */
export interface Route {
  readonly binding: Binding;
  readonly values: readonly string[];
}

/** Finds the route of an HTTP method and a raw path; throws if there is none. */
export type Router = (httpMethod: string, path: string) => Route;

/** Makes the router of bindings that stand in order of precedence. */
export function createRouter(bindings: readonly Binding[]): Router {
  // They stand before all others, and most calls are for one of them.
  const plain = new Map(
    bindings.flatMap((binding): [string, Route][] =>
      isPlain(binding.template)
        ? [[`${binding.httpMethod} ${shapeOf(binding.template)}`, { binding, values: [] }]]
        : [],
    ),
  );
  return (httpMethod, path) => {
    const plainRoute = plain.get(`${httpMethod} ${path}`);
    if (plainRoute !== undefined) return plainRoute;
    const segments = segmentsOf(path);
    const colon = path.lastIndexOf(":");
    const verb = colon > path.lastIndexOf("/") ? path.slice(colon + 1) : undefined;
    const withoutVerb = verb === undefined ? undefined : segmentsOf(path.slice(0, colon));

    const allowed = new Map<string, Route>();
    for (const binding of bindings) {
      const { template } = binding;
      if (template.verb !== undefined && template.verb !== verb) continue;
      const given = template.verb === undefined ? segments : withoutVerb;
      const values = given && match(template, given);
      if (values === undefined) continue;
      if (binding.httpMethod === httpMethod) return { binding, values };
      if (!allowed.has(binding.httpMethod)) allowed.set(binding.httpMethod, { binding, values });
    }
    const route = allowed.get("*") ?? (httpMethod === "HEAD" ? allowed.get("GET") : undefined);
    if (route !== undefined) return route;
    if (allowed.size === 0) throw new UnknownPath(suggest(bindings, httpMethod, path));
    throw new MethodNotAllowed(
      [...allowed.keys()].map((name) => (name === "GET" ? "GET, HEAD" : name)).join(", "),
    );
  };
}

/** Whether it matches one path only, however that is encoded. */
function isPlain({ segments, verb }: Template): boolean {
  return verb === undefined && segments.every((segment) => typeof segment !== "string");
}

/** The raw segments of a path; undefined for a doubled or trailing slash, which no template matches. */
function segmentsOf(path: string): string[] | undefined {
  if (!path.startsWith("/")) return undefined;
  try {
    if (decodeURIComponent(path).includes("\0")) throw new InvalidRequest("the path contains NUL");
  } catch (error) {
    if (error instanceof InvalidRequest) throw error;
    throw new InvalidRequest("the path is not valid percent-encoded UTF-8");
  }
  const segments = path.slice(1).split("/");
  return segments.includes("") ? undefined : segments;
}

/** The route whose path is the closest, its variables taking what the path has in their place. */
function suggest(bindings: readonly Binding[], httpMethod: string, path: string): string | undefined {
  const given = path.split("/").filter(Boolean);
  const filled = new Map<string, Binding>();
  for (const binding of bindings) {
    const segments = binding.template.segments.map((segment, index) =>
      typeof segment === "string" ? (given[index] ?? segment) : segment.literal,
    );
    const text = `/${segments.join("/")}`;
    if (binding.httpMethod === httpMethod || !filled.has(text)) filled.set(text, binding);
  }
  // Without the slashes that are too many: the path that is there without them is meant, not one that goes on.
  const closest = filled.get(nearest(`/${given.join("/")}`, filled.keys()) ?? "");
  return closest && `${closest.httpMethod} ${closest.template.text}`;
}
