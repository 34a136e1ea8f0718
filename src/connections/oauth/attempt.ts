import { append } from "#src/audit/append.ts";
import type { Keyring } from "#src/crypto/keyring.ts";
import { unchanged, type Database, type Tx } from "#src/db/database.ts";
import type { Log } from "#src/platform/log.ts";
import type { Meter } from "#src/platform/meter.ts";
import { setTimeout as sleep } from "node:timers/promises";
import { openGrant, sealGrant, type GrantSecrets } from "./grant-secrets.ts";
import {
  lockWhole,
  storeFailure,
  storeGiven,
  storeStatus,
  type Grant,
  type GrantRef,
} from "./grant-store.ts";
import { oauth2Of, type AsParty } from "./party.ts";
import { afterFailure, isOfClient, isRenewable, timesOf, type AfterFailure } from "./refresh-rules.ts";
import { scopeParameter } from "./scopes.ts";
import { TokenFailure } from "./token-failure.ts";
import type { AskForTokens, TokenParty, Tokens } from "./tokens.ts";

/** What an attempt works with. */
export interface AttemptParts {
  readonly database: Database;
  readonly keyring: Keyring;
  readonly asParty: AsParty;
  readonly ask: AskForTokens;
  readonly meter: Meter;
  readonly log: Log;
  readonly now: () => Date;
}

/** Asks the service for new tokens, and writes down how it ended: whoever has the grant's lease may. */
export type Attempt = (ref: GrantRef, leased: Grant, isInDoubt: boolean) => Promise<void>;

const writeTries = 6;

export function createAttempt(parts: AttemptParts): Attempt {
  const { database, keyring, asParty, ask, meter, log, now } = parts;
  const count = meter.counter({
    name: "patchbay_oauth_refreshes_total",
    help: "Attempts to renew an access token: renewed, or what is known of the failure.",
    labels: ["outcome"],
  });

  async function tokensFor(ref: GrantRef, { connection, credential, wrappedKey, requestedScopes }: Grant) {
    const before = credential && (await openGrant(keyring, ref, { credential, wrappedKey }));
    const tokens = await asParty(connection, (party) => {
      if (isOfClient(party.method)) return askForClient(ask, party, requestedScopes);
      const refreshToken = before?.refreshToken;
      if (refreshToken === undefined || !isRenewable(party.method, refreshToken)) {
        throw new TokenFailure("refused", "its access token is over, and the service gave no refresh token", {
          code: "invalid_grant",
        });
      }
      const parameters = { refresh_token: refreshToken };
      return ask(party, { grantType: "refresh_token", parameters, url: party.method.refreshUrl });
    });
    return { before, tokens };
  }

  async function store(ref: GrantRef, leased: Grant, before: GrantSecrets | undefined, tokens: Tokens) {
    const { accessToken, refreshToken = before?.refreshToken } = tokens;
    const secrets = { accessToken, ...(refreshToken !== undefined && { refreshToken }) };
    const method = oauth2Of(leased.connection);
    if (method === undefined) throw new Error("the connection does not use OAuth");
    await keyring.sealing(ref.orgId, (sealer) =>
      database.change(ref.orgId, async (tx) => {
        const grant = await lockWhole(tx, ref);
        // Authorized anew meanwhile, or deleted: then these tokens are of a grant that nobody wants any more. Whose
        // lease it is does not matter: tokens that were given are the ones that are good.
        if (grant?.version !== leased.version) return unchanged(undefined);
        const sealed = await sealGrant(sealer, tx, ref, leased.version + 1, secrets);
        const at = now();
        await storeGiven(tx, ref, {
          ...sealed,
          ...timesOf({ ...tokens, refreshToken }, method, at, Math.random()),
          boundTo: grant.credential?.boundTo ?? grant.connection.baseUrl,
          at,
          grantedScopes: tokens.scopes ?? grant.grantedScopes,
        });
        if (grant.status !== "ACTIVE") await storeStatus(tx, ref, "ACTIVE", undefined);
        await append(tx, "service", {
          action: "connection.refresh",
          target: ref.id,
          details: {
            outcome: "REFRESHED",
            status: { before: grant.status, after: "ACTIVE" },
            tokenHash: { before: grant.credential?.fingerprint ?? null, after: sealed.fingerprint },
          },
        });
      }),
    );
  }

  /**
   * What the service did is done, so a database that is away or busy for a moment must not lose it: neither new tokens,
   * whose predecessor is spent, nor that there are none, without which the previous would be in doubt.
   */
  async function surely({ id }: GrantRef, write: () => Promise<void>): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await write();
      } catch (error) {
        if (tries >= writeTries) throw error;
        log.warn({ err: error, connectionId: id }, "a refresh was not written down yet; it is tried again");
        await sleep(250 * 2 ** tries);
      }
    }
  }

  /** A refresh token that may be spent is sent again only after that was recorded. */
  async function admitDoubt(ref: GrantRef, { version }: Grant): Promise<void> {
    await database.change(ref.orgId, async (tx) => {
      const grant = await lockWhole(tx, ref);
      if (grant?.version !== version) return unchanged(undefined);
      await storeStatus(tx, ref, "REFRESH_IN_DOUBT", inDoubt);
      const status = { before: grant.status, after: "REFRESH_IN_DOUBT" };
      await append(tx, "service", {
        action: "connection.refresh",
        target: ref.id,
        details: { outcome: "IN_DOUBT", status, reason: inDoubt },
      });
    });
  }

  async function fail(
    ref: GrantRef,
    leased: Grant,
    attempt: { isInDoubt: boolean; isRisky: boolean },
    failure: TokenFailure,
  ) {
    await database.change(ref.orgId, async (tx) => {
      const grant = await lockWhole(tx, ref);
      if (grant?.version !== leased.version) return unchanged(undefined);
      await writeFailure(tx, ref, grant, afterFailure(grant, attempt, failure, now()));
    });
  }

  return async (ref, leased, isInDoubt) => {
    const end = (failure: TokenFailure) => {
      count({ outcome: failure.kind });
      return surely(ref, () => fail(ref, leased, { isInDoubt, isRisky: isGoodOnce(leased) }, failure));
    };
    let given: Awaited<ReturnType<typeof tokensFor>>;
    try {
      if (isInDoubt) await admitDoubt(ref, leased);
      given = await tokensFor(ref, leased);
    } catch (error) {
      if (error instanceof TokenFailure) return end(error);
      await end(new TokenFailure("unavailable", notSent));
      throw error;
    }
    count({ outcome: "renewed" });
    await surely(ref, () => store(ref, leased, given.before, given.tokens));
  };
}

const inDoubt =
  "a refresh was sent and its answer never came, so the refresh token may be spent; it is tried once more";
const notSent = "the request could not be made; the operator's log says why";

/** Writes how an attempt failed, with its event. */
export async function writeFailure(tx: Tx, ref: GrantRef, before: Grant, after: AfterFailure): Promise<void> {
  await storeFailure(tx, ref, after);
  const { reason, status } = after;
  if (before.status !== status || before.connection.statusReason !== undefined) {
    await storeStatus(tx, ref, status, status === "ACTIVE" ? undefined : reason);
  }
  await append(tx, "service", {
    action: "connection.refresh",
    target: ref.id,
    details: {
      outcome: "FAILED",
      status: { before: before.status, after: status },
      reason,
      tokenHash: {
        before: before.credential?.fingerprint ?? null,
        after: before.credential?.fingerprint ?? null,
      },
    },
  });
}

/** Whether the token that is sent may be good for this one time, so that an answer that is lost loses the grant. */
export function isGoodOnce({ connection, credential }: Pick<Grant, "connection" | "credential">): boolean {
  return credential !== undefined && oauth2Of(connection)?.refresh === "rotating";
}

function askForClient(ask: AskForTokens, party: TokenParty, requested: readonly string[]): Promise<Tokens> {
  const { method } = party;
  const scopes = requested.length > 0 ? requested : method.defaultScopes;
  return ask(party, { grantType: method.grant, parameters: scopeParameter(method, scopes) });
}
