import type {
  CreateChannelRequest,
  UpdateChannelRequest,
} from "#gen/patchbay/events/v1/channel_service_pb.js";
import { MissingScope } from "#src/api-keys/errors.ts";
import { grants } from "#src/api-keys/scopes.ts";
import { requirePermitted } from "#src/connections/access.ts";
import type { Connections } from "#src/connections/connections.ts";
import type { Caller } from "#src/platform/caller.ts";
import { InvalidRequest } from "#src/platform/errors.ts";

/**
 * The id of the connection that a channel is to read through, if the caller may call it so itself: a channel hands what
 * it reads to all who may read channels. Undefined for a channel that others send to.
 */
export async function sourceConnection(
  connections: Pick<Connections, "usable">,
  caller: Caller,
  source: CreateChannelRequest["source"] | UpdateChannelRequest["source"],
): Promise<string | undefined> {
  if (source.case !== "sse" && source.case !== "poll") return undefined;
  const { connection: ref, path } = source.value;
  if (!grants(caller.scopes, "connections:use")) throw new MissingScope("connections:use");
  const connection = await connections.usable(caller, ref);
  requirePermitted(caller, connection, { method: "GET", path });
  if (connection.visibility !== "org") {
    throw new InvalidRequest(
      `${source.case}.connection: this connection belongs to one user; a channel reads through one of the whole organisation`,
    );
  }
  return connection.id;
}
