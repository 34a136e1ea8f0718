import type { Endpoint, ServiceDescription } from "./service-description.ts";

/** Endpoints by the segments of their paths. */
interface Node {
  readonly literals: Map<string, Node>;
  /** Segments that hold variables, such as `{id}` and `{id}.json`, by what is fixed in them. */
  readonly variables: Map<string, { readonly fixed: readonly string[]; readonly node: Node }>;
  /** The one whose path ends here. */
  endpoint: Endpoint | undefined;
}

/** A description does not change, and one may have thousands of endpoints. */
const known = new WeakMap<ServiceDescription, ReadonlyMap<string, Node>>();

/** The endpoint of the service for a method, and a template or the path of a request; undefined if there is none. */
export function findEndpoint(
  service: ServiceDescription | undefined,
  { method, path }: { readonly method: string; readonly path: string },
): Endpoint | undefined {
  if (service === undefined) return undefined;
  const trees = known.get(service) ?? treesOf(service);
  known.set(service, trees);
  const tree = trees.get(method.toUpperCase());
  const wanted = path.split("?", 1)[0]?.split("/") ?? [];
  return tree && findBelow(tree, wanted, 0, Infinity)?.endpoint;
}

/** By method. */
function treesOf({ endpoints }: ServiceDescription): Map<string, Node> {
  const trees = new Map<string, Node>();
  for (const endpoint of endpoints) {
    const root = trees.get(endpoint.method) ?? emptyNode();
    trees.set(endpoint.method, root);
    const end = endpoint.path.split("/").reduce(nextNode, root);
    // Of paths that differ in the names of their variables only, the first.
    end.endpoint ??= endpoint;
  }
  return trees;
}

function nextNode({ literals, variables }: Node, segment: string): Node {
  const fixed = segment.split(/\{[^{}]*\}/);
  if (fixed.length === 1) {
    const node = literals.get(segment) ?? emptyNode();
    literals.set(segment, node);
    return node;
  }
  const shape = fixed.join("{}");
  const next = variables.get(shape) ?? { fixed, node: emptyNode() };
  variables.set(shape, next);
  return next.node;
}

function emptyNode(): Node {
  return { literals: new Map(), variables: new Map(), endpoint: undefined };
}

interface Found {
  readonly endpoint: Endpoint;
  /** How much of its path is open. */
  readonly openness: number;
}

/**
 * Of the endpoints below that match, the most specific, as in every router: of /rules/active and /rules/{id}, the first.
 * None that is as open as the bound or more, which saves the way to most.
 */
function findBelow(node: Node, wanted: readonly string[], depth: number, bound: number): Found | undefined {
  const segment = wanted[depth];
  if (segment === undefined) return node.endpoint && { endpoint: node.endpoint, openness: 0 };
  const literal = node.literals.get(segment);
  let best = literal && findBelow(literal, wanted, depth + 1, bound);
  for (const { fixed, node: next } of node.variables.values()) {
    const open = opennessOf(fixed);
    const limit = Math.min(bound, best?.openness ?? Infinity) - open;
    if (limit <= 0 || !matches(fixed, segment)) continue;
    const found = findBelow(next, wanted, depth + 1, limit);
    if (found !== undefined && found.openness < limit) best = { ...found, openness: found.openness + open };
  }
  return best;
}

/** A segment that is one variable is more open than one with something fixed in it. */
function opennessOf(fixed: readonly string[]): number {
  return fixed.every((part) => part === "") ? 2 : 1;
}

/** Whether the segment has the fixed parts in their order, and something between each two. */
function matches(fixed: readonly string[], segment: string): boolean {
  const [first = "", ...rest] = fixed;
  const last = rest.pop() ?? "";
  if (!segment.startsWith(first) || !segment.endsWith(last)) return false;
  let at = first.length;
  for (const part of rest) {
    const next = segment.indexOf(part, at + 1);
    if (next === -1) return false;
    at = next + part.length;
  }
  return at < segment.length - last.length;
}
