import type { Endpoint, ServiceDescription } from "./service-description.ts";

/** The endpoint of the service for a method, and a template or the path of a request; undefined if there is none. */
export function findEndpoint(
  service: ServiceDescription | undefined,
  { method, path }: { readonly method: string; readonly path: string },
): Endpoint | undefined {
  const wanted = path.split("?", 1)[0]?.split("/") ?? [];
  const matching = (service?.endpoints ?? []).filter(
    (endpoint) => endpoint.method === method.toUpperCase() && matches(endpoint.path.split("/"), wanted),
  );
  // If /rules/active and /rules/{id} both match, the more specific one is meant, as in every router.
  return matching.sort((a, b) => rankOf(a) - rankOf(b))[0];
}

function matches(template: readonly string[], path: readonly string[]): boolean {
  return (
    template.length === path.length &&
    template.every((segment, i) => segment === path[i] || (isVariable(segment) && path[i] !== ""))
  );
}

function rankOf({ path }: Endpoint): number {
  return path.split("/").filter(isVariable).length;
}

function isVariable(segment: string): boolean {
  return segment.startsWith("{") && segment.endsWith("}");
}
