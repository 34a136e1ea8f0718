import { isDeepStrictEqual } from "node:util";
import { createHash } from "node:crypto";
import type { Environment } from "#src/platform/caller.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { isWithin } from "#src/outbound/base-url.ts";
import { pastedProblem } from "#src/platform/pasted-secret.ts";
import { CredentialRequired } from "./errors.ts";
import { bearerRecipe, type Recipe } from "#src/integrations/integration.ts";
import type { ServiceSlug } from "#src/integrations/slug.ts";
import type { connectionStatuses } from "./schema.ts";

/** A service's base URL and what is known of it; its credential is elsewhere, sealed. */
export interface Connection {
  readonly orgId: string;
  readonly id: string;
  readonly environment: Environment;
  /** The handle by which its organisation calls it; undefined for one that is called by its id only. */
  readonly slug: ServiceSlug | undefined;
  readonly integration: string;
  readonly authMethod: string;
  readonly recipe: Recipe;
  /** What the recipe's templates are filled with, beside the secrets. */
  readonly params: Readonly<Record<string, string>>;
  readonly ownerUserId: string | undefined;
  readonly visibility: "org" | "owner";
  readonly name: string | undefined;
  readonly tags: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly status: ConnectionStatus;
  /** Why it is not active, for people. */
  readonly statusReason: string | undefined;
  readonly baseUrl: string;
  readonly active: boolean;
  readonly createdAt: Date;
  readonly lastHealthyAt: Date | undefined;
  readonly lastUsedAt: Date | undefined;
  /** Why the last probe or test failed. */
  readonly lastError: (ProbeFailure & { readonly at: Date }) | undefined;
  readonly lastCheckedAt: Date | undefined;
  /** Of the last probe; undefined if it failed. */
  readonly lastLatencyMs: number | undefined;
  /** When the certificate ends that the service showed last. */
  readonly certificateExpiresAt: Date | undefined;
  /** Of OAuth: what was asked for, and what was granted, if the service says. */
  readonly scopes:
    { readonly requested: readonly string[]; readonly granted: readonly string[] | undefined } | undefined;
  /** When its access token ends. */
  readonly expiresAt: Date | undefined;
  /** Until when its previous credential is a fallback. */
  readonly fallbackUntil: Date | undefined;
}

/** Why a service was not reached, or does not take its credential. */
export interface ProbeFailure {
  /** Where it failed: at `DNS`, `TCP`, `TLS`, …, by its `status`, or at `auth`. */
  readonly stage: string;
  readonly message: string;
}

/** Only an active one is called through; one whose refresh is in doubt is refreshed first. */
export type ConnectionStatus = (typeof connectionStatuses)[number];

/** A connection with a Bearer token, of everybody in the organisation. */
export const plainConnection = {
  authMethod: bearerRecipe.method.id,
  recipe: bearerRecipe,
  params: {},
  ownerUserId: undefined,
  visibility: "org",
  name: undefined,
  tags: [],
  metadata: {},
  status: "ACTIVE",
  statusReason: undefined,
  lastHealthyAt: undefined,
  lastUsedAt: undefined,
  lastError: undefined,
  lastCheckedAt: undefined,
  lastLatencyMs: undefined,
  certificateExpiresAt: undefined,
  scopes: undefined,
  expiresAt: undefined,
  fallbackUntil: undefined,
} as const satisfies Partial<Connection>;

/** Whether the text can only be a connection's id. No slug begins as ids do. */
export function isConnectionId(ref: string): boolean {
  return ref.startsWith("scn_");
}

const staleAfterMs = 5 * 60 * 1000;

/**
 * Whether the service was not seen healthy for more than five minutes. A connection that never was gets five
 * minutes from its registration. Read from the clock, so no sweep has to run for a dot to turn red.
 */
export function isUnhealthy(connection: Connection, now: Date): boolean {
  const since = connection.lastHealthyAt ?? connection.createdAt;
  return now.getTime() - since.getTime() > staleAfterMs;
}

/** What answers and audit events show of a key: enough to compare it, not to use it. */
export function fingerprintOf(apiKey: Buffer): string {
  return `sha256:${createHash("sha256").update(apiKey).digest("hex")}`;
}

/** Refuses a key that cannot be sent unchanged as `Authorization: Bearer <key>`. */
export function requireSendable(apiKey: string): void {
  const problem = pastedProblem(apiKey);
  if (problem !== undefined) throw new InvalidRequest(`apiKey: ${problem}`);
  if (!/^[\x21-\x7e]+$/.test(apiKey)) {
    throw new InvalidRequest(
      "apiKey: only visible ASCII characters, and no spaces, can be sent in an Authorization header",
    );
  }
}

type Place = Pick<Connection, "authMethod" | "baseUrl" | "recipe" | "params">;

/** Whether calls go to the same place in the same way: what was given, verified or agreed to for the one is for the other. */
export function isSamePlace(one: Place, other: Place): boolean {
  const facts = ({ authMethod, baseUrl, recipe, params }: Place) => [authMethod, baseUrl, recipe, params];
  return isDeepStrictEqual(facts(one), facts(other));
}

/**
 * A stored credential goes only to the base URL that it was stored for, and below it. So whoever edits the base URL
 * must not be able to send it to another origin, nor to another path, which on a shared host may be another service.
 */
export function requireWithin(
  before: Pick<Connection, "baseUrl" | "recipe">,
  baseUrl: string,
  principalKeyId: string | undefined,
): void {
  if (isWithin(baseUrl, before.baseUrl)) return;
  const sameOrigin = new URL(baseUrl).origin === new URL(before.baseUrl).origin;
  const change = sameOrigin ? "path is no longer the old one or below it" : "origin changes";
  if (principalKeyId !== undefined) {
    throw new CredentialRequired(
      `the base URL's ${change}, and the service principal goes only to the URL that it was issued for; connect ` +
        "the service again with POST /api/service-connections, which issues a new one, or give an apiKey",
    );
  }
  const { type } = before.recipe.method;
  if (type === "oauth2") {
    throw new CredentialRequired(
      `the base URL's ${change}, and the grant was given for the old one; make another connection and sign in there`,
    );
  }
  throw new CredentialRequired(
    type === "bearer"
      ? `apiKey: the base URL's ${change}, so the key must be given again; it goes only to the URL it was stored for`
      : `credentials: the base URL's ${change}, so they must be given again; they go only to the URL they were stored for`,
  );
}
