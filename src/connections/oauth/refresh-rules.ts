import type { OAuth2Method } from "#src/integrations/integration.ts";
import type { ConnectionStatus } from "../connection.ts";
import type { TokenFailure } from "./token-failure.ts";
import type { Tokens } from "./tokens.ts";

/** What is known of a grant when it may have to be refreshed. */
export interface GrantState {
  readonly status: ConnectionStatus;
  /** Of the stored credential; 0 where there is none yet. */
  readonly version: number;
  /** Whether somebody refreshes it now. */
  readonly isLeased: boolean;
  /** Somebody began to, and has not said how it ended. */
  readonly leaseOwner: string | null;
  /** The version whose refresh token was sent, and whose answer is not known. */
  readonly sentVersion: number | null;
  /** Requests whose answer never came. */
  readonly doubts: number;
  readonly failures: number;
  readonly retryAt: Date | null;
}

/** What to do for a caller that wants a newer access token. */
export type Step =
  /** The stored one is newer than the caller's. */
  | { readonly do: "use" }
  /** Somebody refreshes it now. */
  | { readonly do: "wait" }
  /** The last attempt failed, and the next is not due. */
  | { readonly do: "leave"; readonly until: Date }
  /** Only a person can help. */
  | { readonly do: "stop"; readonly reason: string | undefined }
  /** Ask the service. In doubt, it is asked with a token that may be spent. */
  | { readonly do: "ask"; readonly doubts: number; readonly isInDoubt: boolean };

const mostDoubts = 1;

/** `known` is the version that the caller has. */
export function nextStep(state: GrantState, known: number, now: Date): Step {
  if (!["ACTIVE", "REFRESH_IN_DOUBT"].includes(state.status)) return { do: "stop", reason: undefined };
  if (state.version > known) return { do: "use" };
  if (state.isLeased) return { do: "wait" };
  const isInDoubt = state.sentVersion !== null && state.sentVersion === state.version;
  // Its lease is over, and it never said how it ended: whoever sent the token is dead.
  const doubts = state.doubts + (isInDoubt && state.leaseOwner !== null ? 1 : 0);
  if (isInDoubt && doubts > mostDoubts) return { do: "stop", reason: lostTwice };
  if (state.retryAt !== null && state.retryAt > now) return { do: "leave", until: state.retryAt };
  return { do: "ask", doubts, isInDoubt };
}

/** How a grant stands after an attempt that gave no token. */
export interface AfterFailure {
  readonly status: "ACTIVE" | "REFRESH_IN_DOUBT" | "NEEDS_REAUTH";
  readonly reason: string;
  readonly doubts: number;
  readonly failures: number;
  readonly retryAt: Date | null;
  /** Whether the token that was sent is still one of which nobody knows whether it is spent. */
  readonly staysSent: boolean;
}

/** Codes with which services say that a refresh token will never be good again. */
const overForEver = new Set([
  "invalid_grant",
  "bad_refresh_token",
  "invalid_refresh_token",
  "token_expired",
  "token_revoked",
]);

/** `isRisky`: the refresh token is good once, so it may be spent though no answer came. */
export function afterFailure(
  state: Pick<GrantState, "doubts" | "failures">,
  attempt: { readonly isInDoubt: boolean; readonly isRisky: boolean },
  failure: TokenFailure,
  now: Date,
): AfterFailure {
  const { kind, message: reason } = failure;
  const { doubts } = state;
  if (kind === "refused" && overForEver.has(failure.code ?? "")) return over(reason, doubts);
  const isUnknown = attempt.isRisky && (kind === "timeout" || kind === "broken");
  const isLost = isUnknown && kind === "timeout";
  if (isLost && doubts >= mostDoubts) return over(lostTwice, doubts + 1);
  const failures = state.failures + 1;
  const isInDoubt = attempt.isInDoubt || isUnknown;
  return {
    status: isInDoubt ? "REFRESH_IN_DOUBT" : "ACTIVE",
    reason,
    doubts: isLost ? doubts + 1 : doubts,
    failures,
    // It waited long enough, and there is one try only.
    retryAt: isLost ? null : new Date(now.getTime() + pauseMs(failures, failure.retryAfterSeconds)),
    staysSent: isInDoubt,
  };
}

const lostTwice = "two refreshes in a row had no answer, so its refresh token may be spent";

function over(reason: string, doubts: number): AfterFailure {
  return { status: "NEEDS_REAUTH", reason, doubts, failures: 0, retryAt: null, staysSent: false };
}

const firstPauseMs = 2_000;
const longestPauseMs = 15 * 60_000;
const longestAskedMs = 60 * 60_000;

/** Longer with each failure, and at least as long as the service asks, within reason. */
export function pauseMs(failures: number, retryAfterSeconds = 0): number {
  const growing = Math.min(longestPauseMs, firstPauseMs * 2 ** Math.min(failures - 1, 20));
  return Math.max(growing, Math.min(longestAskedMs, retryAfterSeconds * 1000));
}

/** When what a token endpoint gave ends, and when it is renewed. */
export interface Times {
  readonly expiresAt: Date | undefined;
  readonly refreshAt: Date | undefined;
  readonly refreshExpiresAt: Date | undefined;
  readonly keepAliveAt: Date | undefined;
}

const earliestMs = 5 * 60_000;

/**
 * Renewed 5 minutes early, or at half of a short life; a little later for each grant than for others that were made in
 * the same moment. `random` is from 0 to 1. What cannot be renewed is used to its end.
 */
export function timesOf(
  tokens: Pick<Tokens, "expiresInSeconds" | "refreshExpiresInSeconds" | "refreshToken">,
  method: OAuth2Method,
  now: Date,
  random: number,
): Times {
  const after = (seconds: number | undefined) =>
    seconds === undefined ? undefined : new Date(now.getTime() + seconds * 1000);
  const seconds = tokens.expiresInSeconds ?? assumedSeconds(method);
  const expiresAt = after(seconds);
  const longestEarlyMs = isRenewable(method, tokens.refreshToken) ? earliestMs : 0;
  const earlyMs = Math.min(longestEarlyMs, ((seconds ?? 0) * 1000) / 2) * (1 - random / 5);
  return {
    expiresAt,
    refreshAt: expiresAt && new Date(expiresAt.getTime() - earlyMs),
    refreshExpiresAt: after(tokens.refreshExpiresInSeconds),
    keepAliveAt: after(method.keepAliveSeconds),
  };
}

/** What the integration knows of tokens that do not say when they end. */
function assumedSeconds({ responseQuirks, accessTokenLifetimeSeconds }: OAuth2Method): number | undefined {
  if (responseQuirks.includes("expires_in_missing_means_never")) return undefined;
  return accessTokenLifetimeSeconds ?? undefined;
}

/** Whether a token is had for the client itself: no person took part, and there is no refresh token. */
export function isOfClient({ grant }: OAuth2Method): boolean {
  return grant === "client_credentials" || grant === "account_credentials";
}

/** Whether a new access token can be had without a person. */
export function isRenewable(method: OAuth2Method, refreshToken: string | undefined): boolean {
  return isOfClient(method) || (method.refresh !== "none" && refreshToken !== undefined);
}
