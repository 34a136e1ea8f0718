import type { Change } from "#src/audit/change.ts";
import type { Pepper } from "#src/crypto/service-keys.ts";
import { Unchanged, type Database, type Tx } from "#src/db/database.ts";
import type { Call, NamedRequest } from "#src/platform/caller.ts";
import { AlreadyCreated, IdempotencyKeyReused } from "./errors.ts";
import { findRequest, forgetOldRequests, forgetRequest, insertRequest, lockRequest } from "./store.ts";

/** A repetition is recognised for this long. */
const keptMs = 24 * 60 * 60 * 1000;

/** Creates the way in which every audited method of every feature makes its change. */
export function createChange(parts: { database: Database; pepper: Pepper; now: () => Date }): Change {
  const { database, pepper, now } = parts;

  return async (call, run) => {
    const { orgId, via } = callerIn(call);
    const { named } = call;
    if (named === undefined) return database.change(orgId, run);

    // Both are hashed like secrets: the request may hold a secret, and the name may be derived from one.
    const request = {
      orgId,
      callerId: `${via.kind}/${via.id}`,
      idempotencyKey: pepper(named.key).toString("hex"),
      requestHash: pepper(named.text),
    };
    const at = now();
    const old = new Date(at.getTime() - keptMs);
    return database.change(orgId, async (tx) => {
      // Waits for a request of the same name that is still running.
      await lockRequest(tx, request);
      await forgetRequest(tx, request, old);
      await requireFirst(tx, request, named);
      await forgetOldRequests(tx, orgId, old);
      const result = await run(tx);
      if (!(result instanceof Unchanged))
        await insertRequest(tx, { ...request, target: call.target ?? "", at });
      return result;
    });
  };
}

async function requireFirst(
  tx: Tx,
  request: Parameters<typeof findRequest>[1] & { requestHash: Buffer },
  named: NamedRequest,
) {
  const known = await findRequest(tx, request);
  if (known === undefined) return;
  if (!known.requestHash.equals(request.requestHash)) throw new IdempotencyKeyReused();
  throw new AlreadyCreated(known.target, named.repeated);
}

function callerIn(call: Call) {
  if (call.caller === undefined) throw new Error("a change without a caller cannot be recorded");
  return call.caller;
}
