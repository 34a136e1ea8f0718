import { hasEnded } from "#src/api-keys/api-key.ts";
import { getKey } from "#src/api-keys/store.ts";
import { append } from "#src/audit/append.ts";
import { unchanged, type Database, type Tx } from "#src/db/database.ts";
import type { Environment } from "#src/platform/caller.ts";
import type { Log } from "#src/platform/log.ts";
import { createLoop, type Loop } from "#src/platform/loop.ts";
import { activeTypes, pauseTypes, type Endpoint } from "./endpoint.ts";
import { appendOwnEvent } from "./own-events.ts";
import { endpointsToReview, noteReviewed, type ToReview } from "./owner-store.ts";
import { refusalOf, type Reader } from "./reading-rights.ts";
import { getEndpoint, getEndpointForUpdate, saveEndpoint } from "./store.ts";

/** Within the time in which a key that is revoked is refused everywhere. */
const everyMs = 2_000;
const batchSize = 100;

/** Pauses types of endpoints whose owner may no longer read them, once it is started. */
export function createOwnersLoop(parts: {
  database: Database;
  environment: Environment;
  log: Log;
  now: () => Date;
}): Loop {
  const { database, environment, log, now } = parts;

  async function review({ orgId, id, rights }: ToReview): Promise<void> {
    const viewer = { orgId, environment, userId: undefined };
    const at = now();
    const found = await database.read(orgId, async (tx) => {
      const endpoint = await getEndpoint(tx, viewer, id);
      return endpoint && unreadableTypes(tx, endpoint, at);
    });
    if (found === undefined || found.length === 0) {
      await database.record(orgId, (tx) => noteReviewed(tx, { orgId, id, rights }));
      return;
    }
    await database.change(orgId, async (tx) => {
      const known = await getEndpointForUpdate(tx, viewer, id);
      // It was deleted, or adopted meanwhile: then it is looked at again.
      const types = known === undefined ? [] : await unreadableTypes(tx, known, at);
      if (known === undefined || types.length === 0) return unchanged(undefined);
      const next = pauseTypes(known, types, at);
      await saveEndpoint(tx, next);
      await noteReviewed(tx, { orgId, id, rights });
      const facts = { reason: "rights", types, positions: known.positions };
      await append(tx, "service", {
        action: "webhook.pause",
        target: id,
        details: { url: next.url, ...facts },
      });
      await appendOwnEvent(tx, next, { type: "webhook.paused", data: facts });
      return undefined;
    });
  }

  return createLoop({
    ...{ name: "the review of webhook endpoints", everyMs, log },
    async work(signal) {
      for (;;) {
        const batch = await database.system((tx) => endpointsToReview(tx, environment, now(), batchSize));
        for (const one of batch) {
          if (signal.aborted) return;
          await review(one);
        }
        if (batch.length < batchSize) return;
      }
    },
  });
}

/** Those types that the endpoint's owner may not read, of those that it gets. */
async function unreadableTypes(tx: Tx, endpoint: Endpoint, at: Date): Promise<string[]> {
  const types = activeTypes(endpoint);
  const reader = await readerFor(tx, endpoint, at);
  if (reader === undefined) return types;
  const unreadable: string[] = [];
  for (const type of types) if ((await refusalOf(tx, reader, type)) !== undefined) unreadable.push(type);
  return unreadable;
}

/** The owner as it is now; undefined if its key is over. */
async function readerFor(tx: Tx, endpoint: Endpoint, at: Date): Promise<Reader | undefined> {
  const { orgId, environment, owner } = endpoint;
  const key = await getKey(tx, { orgId, environment, userId: owner.userId }, owner.keyId);
  if (key === undefined || key.revokedAt !== undefined || hasEnded(key.expiresAt, at)) return undefined;
  return { orgId, environment, scopes: key.scopes, connections: key.connections };
}
