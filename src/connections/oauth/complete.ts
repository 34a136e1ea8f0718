import { append } from "#src/audit/append.ts";
import type { Keyring } from "#src/crypto/keyring.ts";
import { unchanged, type Database } from "#src/db/database.ts";
import { matchesWhole } from "#src/integrations/patterns.ts";
import type { Outbound } from "#src/outbound/outbound.ts";
import { ServiceError } from "#src/platform/errors.ts";
import { isSamePlace } from "../connection.ts";
import { AuthorizationFailed } from "./errors.ts";
import type { Flow } from "./flow-store.ts";
import { sealGrant } from "./grant-secrets.ts";
import {
  lockWhole,
  storeGiven,
  storeBaseUrl,
  storeRequestedScopes,
  storeStatus,
  type Grant,
} from "./grant-store.ts";
import { instigatorOf } from "./instigator.ts";
import { at } from "./normalise.ts";
import { oauth2Of } from "./party.ts";
import { isRenewable, timesOf } from "./refresh-rules.ts";
import type { Tokens } from "./tokens.ts";

/** What became of an authorization, for the person who made it. */
export interface Completed {
  /** What was asked for and not granted. */
  readonly missingScopes: readonly string[];
  /** Whether it ends with the access token, as the service gave no refresh token. */
  readonly endsAt: Date | undefined;
}

/** Stores what an authorization gave, or that it failed. */
export interface Complete {
  /**
   * `asked` is the connection as it was when the tokens were asked for. Throws `AuthorizationFailed` if it is another by
   * now, or gone, or the answer names a base URL that is not permitted.
   */
  given(flow: Flow, asked: Grant["connection"], tokens: Tokens): Promise<Completed>;
  failed(flow: Flow, reason: string): Promise<void>;
}

export function createComplete(parts: {
  database: Database;
  keyring: Keyring;
  outbound: Pick<Outbound, "checkBaseUrl">;
  now: () => Date;
}): Complete {
  const { database, keyring, outbound, now } = parts;

  /** Where the service says that the organisation's data is, if its integration leaves that to it. */
  function baseUrlFor({ connection }: Grant, tokens: Tokens): string {
    const { baseUrlFrom } = connection.recipe;
    if (baseUrlFrom === undefined) return connection.baseUrl;
    const { field, mustMatch } = baseUrlFrom;
    const named = field.startsWith("/") ? at(tokens.answer, field) : tokens.answer[field];
    if (typeof named !== "string" || !matchesWhole(mustMatch, named)) {
      throw new AuthorizationFailed(
        `the service named no base URL (${field}) that its integration permits, so nothing was stored`,
      );
    }
    try {
      return outbound.checkBaseUrl(named);
    } catch (error) {
      throw error instanceof ServiceError ? new AuthorizationFailed(error.message) : error;
    }
  }

  return {
    async given(flow, asked, tokens) {
      const { orgId, connectionId: id } = flow;
      const ref = { orgId, id };
      return keyring.sealing(orgId, (sealer) =>
        database.change(orgId, async (tx) => {
          const grant = await lockWhole(tx, ref);
          if (grant === undefined) throw new AuthorizationFailed("the connection was deleted meanwhile");
          const method = oauth2Of(grant.connection);
          // Otherwise a token of one place would be stored for another.
          if (method === undefined || !isSamePlace(asked, grant.connection)) {
            throw new AuthorizationFailed("the connection was changed meanwhile");
          }
          const { accessToken, refreshToken } = tokens;
          const secrets = { accessToken, ...(refreshToken !== undefined && { refreshToken }) };
          const sealed = await sealGrant(sealer, tx, ref, grant.version + 1, secrets);
          const baseUrl = baseUrlFor(grant, tokens);
          const times = timesOf(tokens, method, now(), Math.random());
          if (baseUrl !== grant.connection.baseUrl) await storeBaseUrl(tx, ref, baseUrl, now());
          const grantedScopes = tokens.scopes ?? null;
          await storeGiven(tx, ref, { ...sealed, ...times, boundTo: baseUrl, at: now(), grantedScopes });
          await storeRequestedScopes(tx, ref, flow.scopes);
          await storeStatus(tx, ref, "ACTIVE", undefined);
          const missingScopes = missing(flow.scopes, grantedScopes);
          await append(tx, instigatorOf(flow), {
            action: "connection.authorize",
            target: id,
            details: {
              outcome: "AUTHORIZED",
              status: { before: grant.status, after: "ACTIVE" },
              baseUrl: { before: grant.connection.baseUrl, after: baseUrl },
              requestedScopes: flow.scopes,
              grantedScopes,
              missingScopes,
              tokenHash: { before: grant.credential?.fingerprint ?? null, after: sealed.fingerprint },
            },
          });
          const endsAt = isRenewable(method, refreshToken) ? undefined : times.expiresAt;
          return { missingScopes, endsAt };
        }),
      );
    },

    async failed(flow, reason) {
      const ref = { orgId: flow.orgId, id: flow.connectionId };
      await database.change(flow.orgId, async (tx) => {
        const grant = await lockWhole(tx, ref);
        if (grant === undefined) return unchanged(undefined);
        // One that works goes on as it is.
        if (grant.status !== "ACTIVE") await storeStatus(tx, ref, grant.status, reason);
        await append(tx, instigatorOf(flow), {
          action: "connection.authorize",
          target: ref.id,
          details: { outcome: "FAILED", reason },
        });
      });
    },
  };
}

function missing(requested: readonly string[], granted: readonly string[] | null): string[] {
  return granted === null ? [] : requested.filter((scope) => !granted.includes(scope));
}
