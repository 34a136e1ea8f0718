import type { Database } from "#src/db/database.ts";
import type { Environment } from "#src/platform/caller.ts";
import { levelOfFailure } from "#src/platform/errors.ts";
import { createLoop, type Loop } from "#src/platform/loop.ts";
import type { Complete } from "./complete.ts";
import { AuthorizationFailed } from "./errors.ts";
import { secretOf } from "./flow.ts";
import { claimKeepAlives, claimPolls, deleteFlow, keyOfFlow, pollLater, type Flow } from "./flow-store.ts";
import { lockGrant } from "./grant-store.ts";
import { mayGoOn } from "./instigator.ts";
import type { AttemptParts } from "./attempt.ts";
import type { Refresh } from "./refresh.ts";
import { TokenFailure } from "./token-failure.ts";

const lookEveryMs = 2_000;
const mostAtOnce = 16;
const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code";

/** Keeps grants alive that end when they are not used, and asks whether people typed in their device codes. */
export function createOAuthSweep(
  parts: AttemptParts & { complete: Complete; refresh: Refresh; environment: Environment },
): Loop {
  const { database, keyring, asParty, ask, complete, refresh, environment, log, now } = parts;

  async function poll(flow: Flow): Promise<void> {
    if (flow.expiresAt <= now()) return end(database, complete, flow, "nobody typed in the code in time");
    const { grant, isOn, wrappedKey } = await database.record(flow.orgId, async (tx) => ({
      grant: await lockGrant(tx, { orgId: flow.orgId, id: flow.connectionId }),
      isOn: await mayGoOn(tx, flow, environment, now()),
      wrappedKey: await keyOfFlow(tx, flow),
    }));
    if (!isOn) return end(database, complete, flow, "whoever began it may no longer do that");
    const code = await secretOf(keyring, flow, wrappedKey);
    if (grant === undefined || code === undefined) return;
    const asked = grant.connection;
    try {
      const parameters = { device_code: code };
      const tokens = await asParty(asked, (party) => ask(party, { grantType: deviceGrant, parameters }));
      await complete.given(flow, asked, tokens);
      await database.record(flow.orgId, (tx) => deleteFlow(tx, flow));
    } catch (error) {
      await notYet(flow, error);
    }
  }

  async function notYet(flow: Flow, error: unknown): Promise<void> {
    if (error instanceof AuthorizationFailed) return end(database, complete, flow, error.message);
    if (!(error instanceof TokenFailure)) throw error;
    const { pollSeconds = 5 } = { pollSeconds: flow.pollSeconds ?? undefined };
    const pause = pauseAfter(error, pollSeconds);
    if (pause === undefined) return end(database, complete, flow, error.message);
    const pollAt = new Date(now().getTime() + pause * 1000);
    await database.record(flow.orgId, (tx) => pollLater(tx, flow, pollAt, pause));
  }

  async function sweep(): Promise<void> {
    const due = await database.system(async (tx) => ({
      polls: await claimPolls(tx, environment, now(), mostAtOnce),
      grants: await claimKeepAlives(tx, environment, now(), mostAtOnce),
    }));
    const work = [...due.polls.map(poll), ...due.grants.map((ref) => refresh.renew(ref))];
    for (const done of await Promise.allSettled(work)) {
      if (done.status === "fulfilled") continue;
      const error: unknown = done.reason;
      log[levelOfFailure(error)](
        { err: error },
        "oauth sweep: a grant could not be seen to; it is tried again",
      );
    }
  }

  return createLoop({ name: "oauth sweep", everyMs: lookEveryMs, work: sweep, log });
}

async function end(database: Database, complete: Complete, flow: Flow, reason: string): Promise<void> {
  if (await database.record(flow.orgId, (tx) => deleteFlow(tx, flow))) await complete.failed(flow, reason);
}

/** When to ask again, in seconds (RFC 8628, 3.5); undefined if there is no more to come. */
function pauseAfter({ kind, code }: TokenFailure, pollSeconds: number): number | undefined {
  if (kind === "refused") {
    if (code === "authorization_pending") return pollSeconds;
    return code === "slow_down" ? pollSeconds + 5 : undefined;
  }
  return Math.min(60, pollSeconds * 2);
}
