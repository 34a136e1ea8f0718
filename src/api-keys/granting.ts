import type { Tx } from "#src/db/database.ts";
import { isActiveUser } from "#src/directory/store.ts";
import type { Caller } from "#src/platform/caller.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { cidrsProblem } from "./addresses.ts";
import type { ApiKey } from "./api-key.ts";
import { coversRights, rightsProblem, type ConnectionRights } from "./connection-rights.ts";
import { ConnectionNotAllowed, MissingScope, UnknownUser } from "./errors.ts";
import { firstNotGrantable, scopesProblem } from "./scopes.ts";

/** Refuses a new key that breaks a rule, or that may do more than the caller's own. */
export async function requireGivable(tx: Tx, caller: Caller, key: ApiKey, now: Date): Promise<void> {
  requireScopes(key.scopes);
  requireRights(key.connections);
  requireGrantable(caller, key);
  requireFuture(key.expiresAt, now);
  requireAddresses(key.allowedCidrs);
  await requireActiveUser(tx, caller.orgId, key.actAsUserId);
}

export function requireScopes(scopes: readonly string[]): void {
  const problem = scopesProblem(scopes);
  if (problem !== undefined) throw new InvalidRequest(`scopes: ${problem}`);
}

export function requireAddresses(cidrs: readonly string[]): void {
  const problem = cidrsProblem(cidrs);
  if (problem !== undefined) throw new InvalidRequest(`allowedCidrs: ${problem}`);
}

export function requireRights(rights: ConnectionRights): void {
  const problem = rights && rightsProblem(rights);
  if (problem !== undefined) throw new InvalidRequest(`connections.${problem}`);
}

/** Whoever hands out a key's secret hands out all that the key can do. */
export function requireGrantable(caller: Caller, key: Pick<ApiKey, "scopes" | "connections">): void {
  const missing = firstNotGrantable(caller.scopes, key.scopes);
  if (missing !== undefined) throw new MissingScope(missing);
  if (coversRights(caller.connections, key.connections)) return;
  throw new ConnectionNotAllowed(
    "connections: your own key is limited to some connections, and gives to another key only parts of its own " +
      "rights, each within one of them; GET /api/auth/me shows them",
  );
}

/** Whoever may issue keys chooses the limit of each one; the operator sets the highest limit. */
export function requireRateLimit(rateLimitPerMinute: number | undefined, most: number): void {
  if (rateLimitPerMinute === undefined || rateLimitPerMinute <= most) return;
  throw new InvalidRequest(
    `rateLimitPerMinute: at most ${most} in this deployment; the operator sets that by ` +
      "--max-rate-limit-per-minute (PATCHBAY_MAX_RATE_LIMIT_PER_MINUTE)",
  );
}

export function requireFuture(expiresAt: Date | undefined, now: Date): void {
  if (expiresAt !== undefined && expiresAt <= now) {
    throw new InvalidRequest("expiresAt: lies in the past; give a later time, or revoke the key to end it");
  }
}

export async function requireActiveUser(tx: Tx, orgId: string, userId: string | undefined): Promise<void> {
  if (userId !== undefined && !(await isActiveUser(tx, orgId, userId))) throw new UnknownUser();
}

/** What is legal but unwise about a key, in words for people. */
export function warningsFor(key: ApiKey): string[] {
  if (key.environment !== "live" || !key.scopes.includes("write")) return [];
  return ["the scope write covers every resource; a live key is safer with only the scopes that it needs"];
}
