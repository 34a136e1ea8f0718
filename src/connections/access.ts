import { ConnectionNotAllowed } from "#src/api-keys/errors.ts";
import { permitsAll, permitsCall, permitsConnection } from "#src/api-keys/connection-rights.ts";
import { grants } from "#src/api-keys/scopes.ts";
import type { Tx } from "#src/db/database.ts";
import { and, arrayOverlaps, eq, inArray, notLike, or, type AnyPgColumn } from "#src/db/drizzle.cjs";
import type { Caller } from "#src/platform/caller.ts";
import type { ConnectionRight } from "#src/platform/connection-right.ts";
import type { ServiceError } from "#src/platform/errors.ts";
import type { Connection } from "./connection.ts";
import { ConnectionNotFound, NotOwner } from "./errors.ts";
import { connections } from "./schema.ts";

/** What decides who may see and use a connection. */
export type Guarded = Pick<Connection, "id" | "slug" | "tags" | "ownerUserId" | "visibility">;

/** What decides which connections a key knows of. */
export type Sight = Pick<Caller, "orgId" | "environment" | "connections">;

/** The connections that lists show the caller, as a condition of the statement: what is beyond it moves no page. */
export function visibleTo(caller: Caller) {
  return and(isShared(caller), isNamed(caller));
}

/**
 * Whether the column names what the caller's key may know of, as a condition of the statement: anything but a connection
 * that its rights leave out. One that is deleted is known by its id only.
 */
export function hasShownTarget(tx: Tx, caller: Sight, target: AnyPgColumn) {
  const { orgId, environment, connections: rights } = caller;
  if (rights === undefined) return undefined;
  const named = tx
    .select({ id: connections.id })
    .from(connections)
    .where(and(eq(connections.orgId, orgId), eq(connections.environment, environment), isNamed(caller)));
  return or(notLike(target, "scn\\_%"), inArray(target, namesIn(rights).ids), inArray(target, named));
}

/** Those of the targets that `hasShownTarget` shows the caller, of what was read already. */
export async function shownTargets(
  tx: Tx,
  caller: Caller,
  targets: readonly string[],
): Promise<ReadonlySet<string>> {
  const { orgId, environment, connections: rights } = caller;
  const asked = targets.filter((target) => target.startsWith("scn_"));
  if (rights === undefined || asked.length === 0) return new Set(targets);
  const named = await tx
    .select({ id: connections.id })
    .from(connections)
    .where(
      and(
        eq(connections.orgId, orgId),
        eq(connections.environment, environment),
        inArray(connections.id, asked),
        isNamed(caller),
      ),
    );
  const shown = new Set([...namesIn(rights).ids, ...named.map(({ id }) => id)]);
  return new Set(targets.filter((target) => !target.startsWith("scn_") || shown.has(target)));
}

function isShared(caller: Caller) {
  if (managesAll(caller)) return undefined;
  const ofAll = eq(connections.visibility, "org");
  return caller.userId === undefined ? ofAll : or(ofAll, eq(connections.ownerUserId, caller.userId));
}

function isNamed({ connections: rights }: Pick<Sight, "connections">) {
  if (rights === undefined) return undefined;
  const { ids, slugs, tags } = namesIn(rights);
  // An empty list of ids or slugs is false, so no rights show nothing. One of tags cannot be asked for.
  const isTagged = tags.length > 0 ? arrayOverlaps(connections.tags, tags) : undefined;
  return or(inArray(connections.id, ids), inArray(connections.slug, slugs), isTagged);
}

function namesIn(rights: readonly ConnectionRight[]) {
  const names = rights.map(({ connection }) => connection);
  return {
    ids: names.flatMap((name) => ("id" in name ? [name.id] : [])),
    slugs: names.flatMap((name) => ("slug" in name ? [name.slug] : [])),
    tags: names.flatMap((name) => ("tag" in name ? [name.tag] : [])),
  };
}

/**
 * The connection that was found, if the caller may see it. What its key's rights leave out is answered as what does
 * not exist; that another user of the organisation has it to themselves is said.
 */
export function requireVisible<Found extends Guarded>(caller: Caller, found: Found | undefined): Found {
  const connection = requireNamed(caller, found, ConnectionNotFound);
  if (!isVisible(caller, connection)) throw new NotOwner(connection.id);
  return connection;
}

/** Whether lists show the caller the connection. */
export function isVisible(caller: Caller, connection: Guarded): boolean {
  const { connections: rights } = caller;
  return permitsConnection(rights, connection) && (isOpenTo(caller, connection) || managesAll(caller));
}

/** The connection that was found, if the caller may use it. To manage the connections of others is not to use them. */
export function requireUsable<Found extends Guarded>(
  caller: Caller,
  found: Found | undefined,
  missing: new () => ServiceError = ConnectionNotFound,
): Found {
  const connection = requireNamed(caller, found, missing);
  if (!isOpenTo(caller, connection)) throw new NotOwner(connection.id);
  return connection;
}

/** The connection that was found, if the caller may change it. */
export function requireChangeable<Found extends Guarded>(caller: Caller, found: Found | undefined): Found {
  const connection = requireUsable(caller, found);
  requireWithinRights(caller, connection);
  return connection;
}

/** The connection that was found, if the caller may delete it. */
export function requireDeletable<Found extends Guarded>(caller: Caller, found: Found | undefined): Found {
  const connection = requireVisible(caller, found);
  requireWithinRights(caller, connection);
  return connection;
}

/**
 * Refuses what the caller would make of a connection, new or known, unless its key has a right to all of it. Of a slug
 * that the key may not use, the answer is the same whether there is a connection or not.
 */
export function requireWithinRights(caller: Caller, connection: Guarded): void {
  if (permitsAll(caller.connections, connection)) return;
  throw new ConnectionNotAllowed(
    "to make, change or delete this connection takes a right of the key to it without methods and pathPrefixes; " +
      "GET /api/auth/me shows its rights",
  );
}

/**
 * Refuses a new connection of which the caller's key would not have all. A slug takes a right to the slug: with one to a
 * tag, a key would take the slug from those that call by it, or learn that it is taken. Of a key that is limited by tags,
 * each of the connection's tags takes a right to it: with others, keys that are limited to these would call a service
 * that this one chose.
 */
export function requireCreatable(caller: Caller, connection: Guarded): void {
  requireWithinRights(caller, connection.slug === undefined ? connection : { ...connection, tags: [] });
  if (!isLimitedByTags(caller)) return;
  for (const tag of connection.tags) requireWithinRights(caller, { ...connection, tags: [tag] });
}

/** Refuses new tags from a key that is limited by tags: it would choose by itself what it, and others, may use. */
export function requireTagsChangeable(caller: Caller): void {
  if (!isLimitedByTags(caller)) return;
  throw new ConnectionNotAllowed(
    "tags: the key is limited by tags, so it cannot change them; use another key",
  );
}

function isLimitedByTags({ connections: rights = [] }: Caller): boolean {
  return rights.some(({ connection }) => "tag" in connection);
}

/** Refuses a call that the rights of the caller's key do not cover. */
export function requirePermitted(
  caller: Caller,
  connection: Guarded,
  { method, path }: { readonly method: string; readonly path: string },
): void {
  if (permitsCall(caller.connections, connection, method, path)) return;
  throw new ConnectionNotAllowed(
    "the rights of the key to this connection do not cover the method and path; paths are compared as they are " +
      "spelled; GET /api/auth/me shows its rights",
    { metadata: { connection_id: connection.id } },
  );
}

function requireNamed<Found extends Guarded>(
  { connections: rights }: Caller,
  found: Found | undefined,
  Missing: new () => ServiceError,
): Found {
  if (found === undefined || !permitsConnection(rights, found)) throw new Missing();
  return found;
}

/** A key without a user owns nothing. */
function isOpenTo({ userId }: Caller, { visibility, ownerUserId }: Guarded): boolean {
  return visibility === "org" || (userId !== undefined && ownerUserId === userId);
}

/** The wildcards do not grant it. */
function managesAll({ scopes }: Caller): boolean {
  return grants(scopes, "connections:manage");
}
