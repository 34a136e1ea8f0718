import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { LRUCache } from "lru-cache";
import { upTo } from "#src/platform/up-to.ts";
import { unchanged } from "#src/db/database.ts";
import type { Connection } from "../connection.ts";
import type { SealedConnection } from "../store.ts";
import { createAttempt, isGoodOnce, writeFailure, type AttemptParts } from "./attempt.ts";
import { AuthorizationNeeded, RefreshFailed } from "./errors.ts";
import { leaseGrant, lockGrant, lockWhole, type Grant, type GrantRef } from "./grant-store.ts";
import { openGrant } from "./grant-secrets.ts";
import { oauth2Of } from "./party.ts";
import { isOfClient, isRenewable, nextStep, type Step } from "./refresh-rules.ts";

/** Renews the access tokens of connections. */
export interface Refresh {
  /**
   * The connection with an access token that is good, renewed first if it is about to end, and had for the first time if
   * that takes no person. Asks the database nothing before that. Throws `AuthorizationNeeded` if only a person can help, `RefreshFailed` if time may.
   */
  readonly fresh: (connection: SealedConnection) => Promise<SealedConnection>;
  /** The connection with another access token than this one, which the service refused; undefined if there is none. */
  refreshed(connection: SealedConnection): Promise<SealedConnection | undefined>;
  /**
   * Notes that the probe's call, which every token may make, was refused with 401: of a token that cannot be renewed, that
   * is the end.
   */
  refused(connection: SealedConnection): Promise<void>;
  /** Renews it whether a call needs it or not. */
  renew(ref: GrantRef): Promise<void>;
  /** Waits for what is under way: to break it off could lose a grant. */
  close(): Promise<void>;
}

/** How a grant stands when there is nothing more to do for it now. */
type Settled =
  | { readonly is: "usable"; readonly grant: Grant }
  | { readonly is: "needing a person"; readonly reason: string | undefined }
  | { readonly is: "failing"; readonly until: Date; readonly reason: string };

/** A call with a token that still is good waits this long for the next one. */
const patienceMs = 3_000;
/** After this long, a service that refuses a token that replaced another may have a new reason. */
const insistMs = 60_000;
/** Longer than two attempts in a row, each with its lease. */
const giveUpMs = 75_000;
const longestPollMs = 400;

export function createRefresh(parts: AttemptParts): Refresh {
  const { database, keyring, now } = parts;
  const attempt = createAttempt(parts);
  const flights = new Map<string, Promise<Settled>>();
  /** Grants that fail, so that calls with a token that still is good do not ask the database each time. */
  const failing = new LRUCache<string, { version: number; until: Date; reason: string }>(upTo(10_000));

  /** Tokens that were made because a service refused the previous one. If it refuses these too, another is no help. */
  const replacements = new LRUCache<string, { version: number; at: number }>(upTo(10_000));

  /** Decides, and takes the lease if the service is to be asked. */
  function decide(ref: GrantRef, known: number, mayAsk: boolean) {
    return database.record(ref.orgId, async (tx): Promise<{ grant: Grant; step: Step } | undefined> => {
      const grant = await lockGrant(tx, ref);
      if (grant === undefined) return undefined;
      const step = nextStep(grant, known, now());
      if (step.do === "ask" && mayAsk) {
        const sentVersion = isGoodOnce(grant) ? grant.version : null;
        await leaseGrant(tx, ref, { owner: randomUUID(), sentVersion, doubts: step.doubts });
      }
      return { grant, step };
    });
  }

  async function giveUp(ref: GrantRef, { version }: Pick<Grant, "version">, reason: string): Promise<void> {
    await database.change(ref.orgId, async (tx) => {
      const grant = await lockWhole(tx, ref);
      if (grant?.version !== version || grant.isLeased) return unchanged(undefined);
      const { doubts } = grant;
      const after = {
        status: "NEEDS_REAUTH",
        reason,
        doubts,
        failures: 0,
        retryAt: null,
        staysSent: false,
      } as const;
      await writeFailure(tx, ref, grant, after);
    });
  }

  async function settle(ref: GrantRef, known: number): Promise<Settled> {
    const endsAt = performance.now() + giveUpMs;
    let hasAsked = false;
    for (let pauseMs = 25; performance.now() < endsAt;) {
      const decided = await decide(ref, known, !hasAsked);
      if (decided === undefined) return { is: "needing a person", reason: "is gone" };
      const { grant, step } = decided;
      switch (step.do) {
        case "use":
          return { is: "usable", grant };
        case "stop":
          if (step.reason !== undefined) await giveUp(ref, grant, step.reason);
          return { is: "needing a person", reason: step.reason ?? grant.connection.statusReason };
        case "leave":
          return { is: "failing", until: step.until, reason: grant.failure ?? "the last attempt failed" };
        case "wait":
          await sleep(pauseMs);
          pauseMs = Math.min(longestPollMs, pauseMs * 2);
          break;
        case "ask":
          // The one retry of a doubt is the next call's: a service that hangs now will hang a moment later.
          if (hasAsked) return { is: "failing", until: now(), reason: grant.failure ?? "the attempt failed" };
          await attempt(ref, grant, step.isInDoubt);
          hasAsked = true;
      }
    }
    return { is: "failing", until: now(), reason: "another replica did not finish its attempt" };
  }

  /** One at a time for each version, whoever waits. Nobody's leaving ends it: to break it off could lose the grant. */
  function flight(ref: GrantRef, known: number): Promise<Settled> {
    const id = `${ref.orgId}/${ref.id}/${known}`;
    const running = flights.get(id);
    if (running !== undefined) return running;
    const started = settle(ref, known)
      .then((settled) => {
        if (settled.is === "failing") failing.set(id, { version: known, ...settled });
        return settled;
      })
      .finally(() => flights.delete(id));
    flights.set(id, started);
    return started;
  }

  /** Whether a new access token can be had without a person; undefined for a connection without one. */
  async function canRenew(connection: SealedConnection): Promise<boolean | undefined> {
    const { credential, wrappedKey } = connection;
    const method = oauth2Of(connection);
    if (method === undefined || credential === undefined) return undefined;
    const { refreshToken } = await openGrant(keyring, connection, { credential, wrappedKey });
    return isRenewable(method, refreshToken);
  }

  /** `isUsable`: with its present token, calls can be made if no other is had. */
  async function renewed(connection: SealedConnection, isUsable: boolean): Promise<SealedConnection> {
    const { orgId, id, credential } = connection;
    const known = credential?.version ?? 0;
    const failed = failing.get(`${orgId}/${id}/${known}`);
    if (isUsable && failed !== undefined && failed.until > now()) return connection;
    const running = flight({ orgId, id }, known);
    const settled = isUsable ? await Promise.race([running, afterPatience(running)]) : await running;
    if (settled === undefined) return connection;
    if (settled.is === "usable") return withCredentialOf(connection, settled.grant);
    if (settled.is === "failing" && isUsable) return connection;
    throw refusal(id, settled, now());
  }

  return {
    async fresh(connection) {
      const { status, credential } = connection;
      const method = oauth2Of(connection);
      if (method === undefined) return connection;
      if (credential === undefined && isOfClient(method)) return renewed(connection, false);
      requireAuthorized(connection);
      const at = now();
      const isDue = credential?.refreshAt !== undefined && credential.refreshAt <= at;
      if (status === "ACTIVE" && !isDue) return connection;
      const isUsable = credential?.expiresAt === undefined || credential.expiresAt > at;
      return renewed(connection, isUsable);
    },

    async refreshed(connection) {
      const { orgId, id, credential } = connection;
      // One refusal is no end of a token that cannot be renewed: it may be of what the person may not see there.
      if (credential === undefined || (await canRenew(connection)) !== true) return undefined;
      const known = credential.version;
      const made = replacements.get(`${orgId}/${id}`);
      if (made?.version === known && now().getTime() - made.at < insistMs) return undefined;
      const settled = await flight({ orgId, id }, known);
      if (settled.is !== "usable") return undefined;
      replacements.set(`${orgId}/${id}`, { version: settled.grant.version, at: now().getTime() });
      return withCredentialOf(connection, settled.grant);
    },

    async refused(connection) {
      const { credential } = connection;
      if (credential === undefined || (await canRenew(connection)) !== false) return;
      await giveUp(
        connection,
        credential,
        "the service takes its access token no more, and gave no refresh token",
      );
    },

    async renew(ref) {
      const grant = await database.record(ref.orgId, (tx) => lockGrant(tx, ref));
      if (grant !== undefined) await flight(ref, grant.version);
    },

    async close() {
      await Promise.allSettled(flights.values());
    },
  };
}

/** Refuses a connection with OAuth that only a person can make good. */
export function requireAuthorized({
  id,
  status,
  statusReason,
}: Pick<Connection, "id" | "status" | "statusReason">) {
  if (status === "ACTIVE" || status === "REFRESH_IN_DOUBT") return;
  throw new AuthorizationNeeded(id, needOf(statusReason));
}

function withCredentialOf(connection: SealedConnection, { credential, wrappedKey }: Grant): SealedConnection {
  if (credential === undefined) throw new Error(`connection ${connection.id} lost its credential`);
  return { ...connection, status: "ACTIVE", credential, wrappedKey };
}

function needOf(reason: string | undefined): string {
  return reason === undefined
    ? "was not authorized yet, or no longer is"
    : `is no longer authorized (${reason})`;
}

/** Why a call cannot be made. */
function refusal(id: string, settled: Exclude<Settled, { is: "usable" }>, at: Date) {
  return settled.is === "failing"
    ? new RefreshFailed(id, settled.reason, secondsUntil(settled.until, at))
    : new AuthorizationNeeded(id, needOf(settled.reason));
}

function secondsUntil(until: Date, at: Date): number {
  return Math.max(1, Math.ceil((until.getTime() - at.getTime()) / 1000));
}

async function afterPatience(running: Promise<unknown>): Promise<undefined> {
  // It goes on, and whoever comes later has the new token.
  running.catch(() => {});
  await sleep(patienceMs, undefined, { ref: false });
  return undefined;
}
