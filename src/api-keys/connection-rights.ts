import { pathProblem } from "#src/outbound/path.ts";
import type { ConnectionRight } from "#src/platform/connection-right.ts";

/** What a key may use; undefined for every connection. */
export type ConnectionRights = readonly ConnectionRight[] | undefined;

/** All by which a right can name a connection. */
export interface NamedConnection {
  readonly id: string;
  readonly slug: string | undefined;
  readonly tags: readonly string[];
}

/** Whether a key with these rights may know of the connection. */
export function permitsConnection(rights: ConnectionRights, connection: NamedConnection): boolean {
  return rights === undefined || rights.some((right) => names(right, connection));
}

/**
 * Whether a key with these rights may make the call. The path is the one that is sent, behind the base URL, and is
 * compared as it is spelled: what a service would read as an allowed path, and is spelled otherwise, is refused.
 */
export function permitsCall(
  rights: ConnectionRights,
  connection: NamedConnection,
  method: string,
  path: string,
): boolean {
  if (rights === undefined) return true;
  return rights.some(
    (right) =>
      names(right, connection) &&
      (right.methods === undefined || right.methods.includes(method)) &&
      (right.pathPrefixes === undefined || isUnderOne(right.pathPrefixes, path)),
  );
}

/**
 * Whether a key with these rights may use all of the connection. Whoever changes a connection decides where each path
 * leads, so a right to a part of it, or several that add up, are not enough for that.
 */
export function permitsAll(rights: ConnectionRights, connection: NamedConnection): boolean {
  return rights === undefined || rights.some((right) => isWhole(right) && names(right, connection));
}

/**
 * Whether a key with the rights `held` may give those that are wanted: each of them is a part of one that it holds. A
 * tag is covered by that tag only, since a connection can lose it.
 */
export function coversRights(held: ConnectionRights, wanted: ConnectionRights): boolean {
  if (held === undefined) return true;
  return wanted !== undefined && wanted.every((right) => held.some((own) => covers(own, right)));
}

/** What is wrong with the rights of a key, in words for whoever gave them; undefined if nothing is. */
export function rightsProblem(rights: readonly ConnectionRight[]): string | undefined {
  for (const [index, right] of rights.entries()) {
    const problem = rightProblem(right);
    if (problem !== undefined) return `rights[${index}].${problem}`;
  }
  return undefined;
}

function names({ connection }: ConnectionRight, { id, slug, tags }: NamedConnection): boolean {
  if ("id" in connection) return connection.id === id;
  if ("slug" in connection) return connection.slug === slug;
  return tags.includes(connection.tag);
}

function isWhole({ methods, pathPrefixes }: ConnectionRight): boolean {
  return methods === undefined && pathPrefixes === undefined;
}

/** A path that can be read in two ways is under no prefix, whoever looks at it later. */
function isUnderOne(prefixes: readonly string[], path: string): boolean {
  return prefixes.some((prefix) => isUnder(prefix, path)) && pathProblem(path) === undefined;
}

function isUnder(prefix: string, path: string): boolean {
  return path === prefix || path.startsWith(`${prefix}/`);
}

function covers(held: ConnectionRight, wanted: ConnectionRight): boolean {
  return (
    isSameName(held.connection, wanted.connection) &&
    (held.methods === undefined || isSubset(wanted.methods, held.methods)) &&
    (held.pathPrefixes === undefined || areUnder(wanted.pathPrefixes, held.pathPrefixes))
  );
}

function isSameName(one: ConnectionRight["connection"], other: ConnectionRight["connection"]): boolean {
  if ("id" in one) return "id" in other && one.id === other.id;
  if ("slug" in one) return "slug" in other && one.slug === other.slug;
  return "tag" in other && one.tag === other.tag;
}

function isSubset(wanted: readonly string[] | undefined, held: readonly string[]): boolean {
  return wanted !== undefined && wanted.every((one) => held.includes(one));
}

function areUnder(wanted: readonly string[] | undefined, held: readonly string[]): boolean {
  return wanted !== undefined && wanted.every((path) => held.some((prefix) => isUnder(prefix, path)));
}

const slug = /^(?:custom:)?[a-z0-9][a-z0-9-]{0,62}$/;
const id = /^scn_[0-9A-HJKMNP-TV-Z]{26}$/;

/** Segments without escapes and parameters, and none of dots alone: such a prefix is spelled in one way. */
const pathPrefix = /^(?:\/\.*[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9._~!$&'()*+,=:@-]*)+$/;

function rightProblem({ connection, pathPrefixes = [] }: ConnectionRight): string | undefined {
  if ("slug" in connection && !slug.test(connection.slug)) {
    return "slug: write the service as aml or custom:ledger";
  }
  if ("id" in connection && !id.test(connection.id)) {
    return "id: not a connection's id, such as scn_01M8JFZ5E6VSREB3XX8BE14KMH";
  }
  const wrong = pathPrefixes.findIndex((prefix) => !pathPrefix.test(prefix));
  if (wrong === -1) return undefined;
  return (
    `pathPrefixes[${wrong}]: begin with / and leave out the slash at the end, empty segments, segments of dots, ` +
    "% and ; (/v1 is /v1 and what is below it)"
  );
}
