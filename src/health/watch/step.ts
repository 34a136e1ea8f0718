import { isVisible } from "#src/connections/access.ts";
import type { Connection } from "#src/connections/connection.ts";
import { listConnections } from "#src/connections/store.ts";
import type { Tx } from "#src/db/database.ts";
import type { Caller } from "#src/platform/caller.ts";
import { readChanges, readHead } from "./change-store.ts";
import { sightOf, type Place } from "./place.ts";

/** What a reader is sent at once. */
export interface Step {
  /** Whether what it was sent before is void. */
  readonly reset: boolean;
  readonly connections: readonly Connection[];
  readonly removedIds: readonly string[];
  /** Whether it was sent all that had changed. */
  readonly current: boolean;
  readonly place: Place;
}

const nothing = { reset: false, connections: [], removedIds: [], current: false } as const;

/** A connection may have 300 KiB of metadata and params, and a gRPC client takes 4 MiB unless it says otherwise. */
const messageBytes = 256 * 1024;
const pageSize = 50;

/** How many connections to read next, by how many were sent at once before: large ones that do not fit are read in vain. */
export function pageAfter({ connections }: Step): number {
  return connections.length === 0 ? pageSize : Math.min(pageSize, 2 * connections.length);
}

/** What is next for a caller that was sent all up to the place. All of it is read at one moment. */
export async function nextStep(
  tx: Tx,
  caller: Caller,
  place: Place | undefined,
  most = pageSize,
): Promise<Step> {
  const sight = sightOf(caller);
  const head = await readHead(tx, caller.orgId);
  const isGood = place?.sight === sight && place.seq >= head.keptFrom && place.seq <= head.seq;
  if (place === undefined || !isGood) {
    return { ...nothing, reset: true, place: { seq: head.seq, listedTo: "", sight } };
  }
  return place.listedTo === undefined
    ? changesBehind(tx, caller, place, head.seq, most)
    : listBehind(tx, caller, place, place.listedTo, most);
}

/** What changes meanwhile has a number behind the place's. */
async function listBehind(
  tx: Tx,
  caller: Caller,
  place: Place,
  listedTo: string,
  most: number,
): Promise<Step> {
  const listed = await listConnections(tx, caller, {}, { after: listedTo, limit: most });
  const connections = fitting(listed);
  const isLast = listed.length < most && connections.length === listed.length;
  return {
    ...nothing,
    connections,
    place: { ...place, listedTo: isLast ? undefined : connections.at(-1)?.id },
  };
}

async function changesBehind(
  tx: Tx,
  caller: Caller,
  place: Place,
  headSeq: number,
  most: number,
): Promise<Step> {
  const read = place.seq < headSeq ? await readChanges(tx, caller, place.seq, most) : [];
  const ids = [...new Set(read.map(({ connectionId }) => connectionId))];
  const listed =
    ids.length === 0 ? [] : await listConnections(tx, caller, { ids }, { after: "", limit: most });
  const visible = new Map(listed.map((connection) => [connection.id, connection]));

  const sent = new Map<string, Connection>();
  const removedIds = new Set<string>();
  let bytes = 0;
  let seq = read.length < most ? headSeq : (read.at(-1)?.seq ?? headSeq);
  let last = place.seq;
  for (const { seq: number, connectionId, was } of read) {
    const connection = visible.get(connectionId);
    if (connection === undefined) {
      if (was !== undefined && isVisible(caller, was)) removedIds.add(connectionId);
    } else if (was === undefined) {
      bytes += sizeOf(connection);
      if (bytes > messageBytes && sent.size > 0) {
        seq = last;
        break;
      }
      sent.set(connectionId, connection);
    }
    last = number;
  }
  return {
    reset: false,
    connections: [...sent.values()],
    removedIds: [...removedIds],
    current: seq === headSeq,
    place: { ...place, seq },
  };
}

/** As many as one message takes, and at least one. */
function fitting(connections: readonly Connection[]): readonly Connection[] {
  let bytes = 0;
  const end = connections.findIndex((connection) => (bytes += sizeOf(connection)) > messageBytes);
  return end === -1 ? connections : connections.slice(0, Math.max(1, end));
}

function sizeOf({ params, metadata, tags, baseUrl }: Connection): number {
  return 1_024 + Buffer.byteLength(JSON.stringify([params, metadata, tags, baseUrl]));
}
