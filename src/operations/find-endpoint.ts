import type { Endpoint, ServiceDescription } from "./service-description.ts";

/** Endpoints whose paths are alike up to some segment. */
interface Node {
  /** Those that have yet to be told apart by the next one; none once they are. */
  waiting: Waiting[];
  readonly literals: Map<string, Node>;
  /** Segments that hold variables, such as `{id}` and `{id}.json`, by what is fixed in them. */
  readonly variables: Map<string, { readonly fixed: readonly string[]; readonly node: Node }>;
  /** The one whose path ends here. */
  endpoint: Endpoint | undefined;
}

/** An endpoint, and where in its path the next segment begins. */
interface Waiting {
  readonly endpoint: Endpoint;
  readonly at: number;
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
    root.waiting.push({ endpoint, at: 0 });
  }
  return trees;
}

/** Tells those apart that wait. Where no request gets, nobody has to: a document may have a million segments. */
function grow(node: Node): void {
  for (const { endpoint, at } of node.waiting) {
    const { path } = endpoint;
    const slash = path.indexOf("/", at);
    const end = slash === -1 ? path.length : slash;
    // Of paths that differ in the names of their variables only, the first.
    if (at > path.length) node.endpoint ??= endpoint;
    else nextNode(node, path.slice(at, end)).waiting.push({ endpoint, at: end + 1 });
  }
  node.waiting = [];
}

function nextNode({ literals, variables }: Node, segment: string): Node {
  if (!segment.includes("{")) {
    const node = literals.get(segment) ?? emptyNode();
    literals.set(segment, node);
    return node;
  }
  const fixed = segment.split(/\{[^{}]*\}/);
  const shape = fixed.join("{}");
  const next = variables.get(shape) ?? { fixed, node: emptyNode() };
  variables.set(shape, next);
  return next.node;
}

function emptyNode(): Node {
  return { waiting: [], literals: new Map(), variables: new Map(), endpoint: undefined };
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
  grow(node);
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
