import { ConnectionNotAllowed, MissingScope } from "#src/api-keys/errors.ts";
import { grants } from "#src/api-keys/scopes.ts";
import { isShownChannel } from "#src/channels/store.ts";
import type { Tx } from "#src/db/database.ts";
import { LogNotFound } from "#src/eventlog/errors.ts";
import type { Caller } from "#src/platform/caller.ts";
import type { ServiceError } from "#src/platform/errors.ts";
import { findSelected } from "./event-types.ts";

/** What decides which events a key may read. */
export type Reader = Pick<Caller, "orgId" | "environment" | "scopes" | "connections">;

/** Refuses types of events that the reader may not read itself: it would have them sent to a place of its choice. */
export async function requireReadable(tx: Tx, reader: Reader, types: readonly string[]): Promise<void> {
  for (const type of types) {
    const refusal = await refusalOf(tx, reader, type);
    if (refusal !== undefined) throw refusal;
  }
}

/** Why the reader may not read events of the type; undefined if it may. */
export async function refusalOf(tx: Tx, reader: Reader, type: string): Promise<ServiceError | undefined> {
  const selected = findSelected(type);
  if (selected === undefined) return new LogNotFound();
  const { scope, tellOfConnections, channelId } = selected;
  if (!grants(reader.scopes, scope)) return new MissingScope(scope);
  if (tellOfConnections && reader.connections !== undefined) {
    return new ConnectionNotAllowed(
      `types: ${type} tells of all connections, and the key is limited to some; use another key`,
    );
  }
  if (channelId === undefined || (await isShownChannel(tx, reader, channelId))) return undefined;
  return new LogNotFound();
}
