import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Keyring } from "#src/crypto/keyring.ts";
import type { Database } from "#src/db/database.ts";
import { auditLog } from "#src/eventlog/event.ts";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import type { Environment } from "#src/platform/caller.ts";
import { levelOfFailure } from "#src/platform/errors.ts";
import type { Log } from "#src/platform/log.ts";
import type { Loop } from "#src/platform/loop.ts";
import { createTally } from "#src/platform/tally.ts";
import type { Deliver, Delivery, Outcome, Receiver } from "./delivery.ts";
import { claimDue, eraseDead, wakeEndpoints, type DueEndpoint, type Moved } from "./dispatch-store.ts";
import { openReceiver } from "./opened-receiver.ts";
import { createPermits } from "./permits.ts";
import { createSettling } from "./settling.ts";
import { takeTurn } from "./turn.ts";

const claimSize = 50;
/**
 * Beyond this many turns, no more endpoints are claimed: they wait in the table, where another replica sees them. Those
 * that take long, because their endpoint hangs, count among all only.
 */
const maxTurns = { brisk: 400, briskOfOne: 100, all: 2_000 };
/** In this time a turn begins deliveries. The last may take 15 s more, and the lease is of 30. */
const turnMs = 10_000;
const underWay = { brisk: 64, all: 2_000, perHost: 4, briskMs: 1_000 };

/** Beside wakes, which are hints: changes that other replicas made are announced to nobody. */
const lookAtAuditMs = 1_000;
const lookAtAllMs = 5_000;
/** How long what was given up can be asked for, as attempts can. */
const deadMs = 30 * 24 * 60 * 60 * 1_000;
/** However often it is woken. */
const pauseMs = 25;
/** What is under way when it stops may end within this time. */
const stoppingMs = 1_000;

const everything: Moved = { orgs: null, logs: null };
const auditOnly: Moved = { orgs: null, logs: [auditLog] };

/** What sending needs. */
export interface DispatchParts {
  readonly database: Database;
  readonly keyring: Keyring;
  readonly eventLog: EventLog;
  readonly deliver: Deliver;
  readonly environment: Environment;
  readonly log: Log;
  readonly now: () => Date;
}

/**
 * Sends events to endpoints: claims those that are due, reads the logs behind their cursors, sends, and records what came
 * of it. There is no row for a delivery, only for one that failed. Replicas share the work through leases.
 */
export function createDispatch(parts: DispatchParts): Loop {
  const { database, keyring, eventLog, deliver, environment, log, now } = parts;
  const settle = createSettling(parts);
  const permits = createPermits(underWay);
  const stopping = new AbortController();
  const cutting = new AbortController();
  const replica = randomBytes(8).toString("hex");
  const claimed = new Map<string, Promise<void>>();
  const briskOf = createTally();
  let brisk = 0;
  let claims = 0;
  let erasedOn = "";
  let going: Promise<void> = Promise.resolve();

  async function turn(endpoint: DueEndpoint): Promise<void> {
    using opened = await openReceiver(keyring, endpoint);
    const { receiver } = opened;
    const host = `${endpoint.orgId} ${new URL(endpoint.url).hostname}`;
    const endsAt = performance.now() + turnMs;
    const taken = await takeTurn(endpoint, {
      read: (orgId, name, after, limit) => eventLog.tail.read(orgId, name, { after, limit, maxBytes }),
      now,
      permit: () => permits.take(host),
      async send(delivery) {
        if (stopping.signal.aborted || performance.now() > endsAt) return undefined;
        return await sent(receiver, delivery);
      },
    });
    await settle(taken);
  }

  async function sent(receiver: Receiver, delivery: Delivery): Promise<Outcome | undefined> {
    try {
      return await deliver(receiver, delivery, cutting.signal);
    } catch (error) {
      if (cutting.signal.aborted) return undefined;
      // It counts as failed, so that one event that we cannot send does not hold up all others for good.
      log.error({ err: error, endpointId: receiver.endpointId }, "a webhook could not be sent");
      return { ...nothing, ok: false, stage: "REQUEST", latencyMs: 0 };
    }
  }

  /** Claims endpoints that are due and begins their turns; returns how many they were. */
  async function claim(): Promise<number> {
    const full = [...briskOf.entries()].filter(([, n]) => n >= maxTurns.briskOfOne).map(([orgId]) => orgId);
    const owner = `${replica}.${++claims}`;
    const rules = { environment, owner, most: claimSize, mostOfOne: maxTurns.briskOfOne, full };
    const due = await database.system((tx) => claimDue(tx, now(), rules));
    for (const endpoint of due) {
      const { orgId, id } = endpoint;
      const name = `${owner} ${id}`;
      const endBrisk = beBrisk(orgId);
      claimed.set(
        name,
        turn(endpoint)
          .catch((error: unknown) =>
            log[levelOfFailure(error)]({ err: error, endpointId: id }, "webhooks were not sent"),
          )
          .finally(() => {
            endBrisk();
            claimed.delete(name);
            poke();
          }),
      );
    }
    return due.length;
  }

  /** Counts a turn as brisk, until that is ended or it takes long. */
  function beBrisk(orgId: string): () => void {
    brisk++;
    briskOf.add(orgId, 1);
    let isBrisk = true;
    const end = (): void => {
      clearTimeout(timer);
      if (!isBrisk) return;
      isBrisk = false;
      brisk--;
      briskOf.add(orgId, -1);
    };
    const timer = setTimeout(() => {
      end();
      poke();
    }, underWay.briskMs);
    return end;
  }

  async function claimAll(): Promise<number> {
    let all = 0;
    for (;;) {
      if (stopping.signal.aborted || brisk >= maxTurns.brisk || claimed.size >= maxTurns.all) return all;
      const found = await claim();
      all += found;
      if (found < claimSize) return all;
    }
  }

  /** Once a day, as what is given up must not grow without an end. */
  async function eraseOld(): Promise<void> {
    const today = now().toISOString().slice(0, 10);
    if (today === erasedOn) return;
    await database.system((tx) => eraseDead(tx, new Date(now().getTime() - deadMs)));
    erasedOn = today;
  }

  const moved = createMoved();
  let poke = (): void => {};

  async function goOn(): Promise<void> {
    const leave = eventLog.wakes.onAny((one) => {
      moved.add(one);
      poke();
    });
    while (!stopping.signal.aborted) {
      const woken = new Promise<void>((resolve) => (poke = resolve));
      try {
        await eraseOld();
        for (const what of moved.take())
          await database.system((tx) => wakeEndpoints(tx, environment, now(), what));
        await claimAll();
      } catch (error) {
        log.warn({ err: error }, "sending webhooks failed; it is tried again");
      }
      const pause = (ms: number) => sleep(ms, undefined, { signal: stopping.signal }).catch(() => {});
      await pause(pauseMs);
      await Promise.race([woken, pause(lookAtAuditMs - pauseMs)]);
    }
    leave();
  }

  return {
    async runOnce() {
      await eraseOld();
      await database.system((tx) => wakeEndpoints(tx, environment, now(), everything));
      while ((await claimAll()) > 0) await Promise.all(claimed.values());
    },
    start() {
      going = goOn();
    },
    async stop() {
      stopping.abort();
      const timer = setTimeout(() => cutting.abort(), stoppingMs);
      await going;
      await Promise.all(claimed.values());
      clearTimeout(timer);
    },
  };
}

/** Of one endpoint at once. One event is read, however large it is. */
const maxBytes = 256 * 1024;

const nothing = {
  ...{ status: undefined, answerType: undefined, answerBytes: undefined, retryAfterMs: undefined },
};

/** Which logs moved since they were looked at: as far as that is known, and from time to time all. */
function createMoved() {
  const orgs = new Set<string>();
  const logs = new Set<string>();
  let isAll = true;
  let [lookedAtAudit, lookedAtAll] = [0, 0];
  return {
    add(one: { readonly orgId: string; readonly log: string } | undefined) {
      if (one === undefined) isAll = true;
      else {
        orgs.add(one.orgId);
        logs.add(one.log);
      }
    },
    take(): Moved[] {
      const at = performance.now();
      const known: Moved = { orgs: [...orgs], logs: [...logs] };
      orgs.clear();
      logs.clear();
      if (isAll || at - lookedAtAll >= lookAtAllMs) {
        isAll = false;
        lookedAtAll = lookedAtAudit = at;
        return [everything];
      }
      const asked = known.orgs?.length === 0 ? [] : [known];
      if (at - lookedAtAudit < lookAtAuditMs) return asked;
      lookedAtAudit = at;
      return [...asked, auditOnly];
    },
  };
}
