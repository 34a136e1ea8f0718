import { append } from "#src/audit/append.ts";
import type { Database } from "#src/db/database.ts";
import type { Call } from "#src/platform/caller.ts";
import type { Deleted, Revocation, Revoke } from "./oauth/revoke.ts";

/**
 * Ends at the service the tokens that a connection held until a change, and records what came of it; undefined for a
 * connection without OAuth. Called behind the change: what the service says does not undo it, and it may take its time.
 */
export async function endGrant(
  { database, revoke }: { readonly database: Database; readonly revoke: Revoke },
  call: Call,
  held: Deleted,
): Promise<Revocation | undefined> {
  const revocation = await revoke(held);
  if (revocation === undefined) return undefined;
  const { orgId, id: target } = held.connection;
  await database.change(orgId, (tx) =>
    append(tx, call, { action: "connection.revoke", target, details: { ...revocation } }),
  );
  return revocation;
}
