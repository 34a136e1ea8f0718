import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  afterFailure,
  nextStep,
  pauseMs,
  timesOf,
  type GrantState,
} from "#src/connections/oauth/refresh-rules.ts";
import { TokenFailure, type TokenFailureKind } from "#src/connections/oauth/token-failure.ts";
import type { OAuth2Method } from "#src/integrations/integration.ts";

const noon = new Date("2026-11-29T12:00:00Z");
const later = (seconds: number) => new Date(noon.getTime() + seconds * 1000);
const calm: GrantState = {
  status: "ACTIVE",
  version: 3,
  isLeased: false,
  leaseOwner: null,
  sentVersion: null,
  doubts: 0,
  failures: 0,
  retryAt: null,
};
const method: OAuth2Method = {
  grant: "authorization_code",
  pkce: "required",
  clientAuthentication: "post",
  scopeSeparator: " ",
  defaultScopes: [],
  refresh: "rotating",
  responseQuirks: [],
};

describe("a caller that wants a newer token", () => {
  const step = (more: Partial<GrantState>, known = 3) => nextStep({ ...calm, ...more }, known, noon);

  test("has the service asked", () => {
    expect(step({})).toEqual({ do: "ask", doubts: 0, isInDoubt: false });
  });
  test("takes one that is there meanwhile, even while the next is had", () => {
    expect(step({ version: 4, isLeased: true, leaseOwner: "x" })).toEqual({ do: "use" });
  });
  test("waits for whoever asks now", () => {
    expect(step({ isLeased: true, leaseOwner: "x", sentVersion: 3 })).toEqual({ do: "wait" });
  });
  test("waits until the service wants to be asked again", () => {
    expect(step({ retryAt: later(5) })).toEqual({ do: "leave", until: later(5) });
    expect(step({ retryAt: later(0) })).toMatchObject({ do: "ask" });
  });
  test("asks again, once, after a crash in the middle", () => {
    const crashed = { sentVersion: 3, leaseOwner: "dead" };
    expect(step(crashed)).toEqual({ do: "ask", doubts: 1, isInDoubt: true });
    expect(step({ ...crashed, doubts: 1 })).toMatchObject({ do: "stop" });
  });
  test("asks again, once, after an answer that did not come in time", () => {
    expect(step({ sentVersion: 3, doubts: 1 })).toEqual({ do: "ask", doubts: 1, isInDoubt: true });
  });
  test("is not in doubt about a token that was stored since", () => {
    expect(step({ sentVersion: 2, leaseOwner: "dead" })).toEqual({ do: "ask", doubts: 0, isInDoubt: false });
  });
  test.each(["NEEDS_REAUTH", "PENDING_AUTHORIZATION", "REVOKED"] as const)(
    "waits for a person: %s",
    (status) => {
      expect(step({ status })).toEqual({ do: "stop", reason: undefined });
    },
  );
});

describe("after an attempt that gave no token", () => {
  const rotating = { isInDoubt: false, isRisky: true };
  const after = (
    kind: TokenFailureKind,
    attempt = rotating,
    state = { doubts: 0, failures: 0 },
    code?: string,
  ) => afterFailure(state, attempt, new TokenFailure(kind, "why", code === undefined ? {} : { code }), noon);

  test.each(["invalid_grant", "bad_refresh_token", "token_revoked"])("%s needs a person", (code) => {
    expect(after("refused", rotating, undefined, code)).toMatchObject({
      status: "NEEDS_REAUTH",
      staysSent: false,
    });
  });
  test.each(["invalid_client", "temporarily_unavailable", "invalid_request"])(
    "%s is no end of the grant",
    (code) => {
      expect(after("refused", rotating, undefined, code)).toMatchObject({
        status: "ACTIVE",
        staysSent: false,
      });
    },
  );
  test.each(["unavailable", "unusable"] as const)("%s is tried again later", (kind) => {
    expect(after(kind)).toMatchObject({ status: "ACTIVE", retryAt: later(2), doubts: 0, staysSent: false });
  });
  test("a timeout leaves it in doubt, and a second one needs a person", () => {
    expect(after("timeout")).toMatchObject({ status: "REFRESH_IN_DOUBT", doubts: 1, staysSent: true });
    const retry = { isInDoubt: true, isRisky: true };
    expect(after("timeout", retry, { doubts: 1, failures: 1 })).toMatchObject({ status: "NEEDS_REAUTH" });
  });
  test("a broken connection leaves it in doubt, however often it breaks", () => {
    const retry = { isInDoubt: true, isRisky: true };
    const twentieth = after("broken", retry, { doubts: 0, failures: 20 });
    expect(twentieth).toMatchObject({ status: "REFRESH_IN_DOUBT", doubts: 0, staysSent: true });
  });
  test("what the service says later does not take away a doubt", () => {
    const retry = { isInDoubt: true, isRisky: true };
    expect(after("unavailable", retry, { doubts: 1, failures: 1 })).toMatchObject({
      status: "REFRESH_IN_DOUBT",
      doubts: 1,
      staysSent: true,
    });
  });
  test.each(["timeout", "broken"] as const)(
    "a token that is good again and again is never in doubt: %s",
    (kind) => {
      const state = { doubts: 0, failures: 9 };
      expect(after(kind, { isInDoubt: false, isRisky: false }, state)).toMatchObject({ status: "ACTIVE" });
    },
  );
});

test("pauses grow from 2 s to 15 min, and are as long as the service asks, up to an hour", () => {
  expect([1, 2, 3, 9, 10, 10_000].map((failures) => pauseMs(failures))).toEqual([
    2_000, 4_000, 8_000, 512_000, 900_000, 900_000,
  ]);
  expect(pauseMs(1, 30)).toBe(30_000);
  expect(pauseMs(1, 1e9)).toBe(3_600_000);
});

test("a token is renewed before it ends, 5 min early or at half its life, and not all in the same moment", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 10_000_000 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (seconds, random) => {
        const tokens = { expiresInSeconds: seconds, refreshExpiresInSeconds: undefined, refreshToken: "rt" };
        const { expiresAt, refreshAt } = timesOf(tokens, method, noon, random);
        const earlyMs = expiresAt!.getTime() - refreshAt!.getTime();
        const most = Math.min(300_000, seconds * 500);
        expect(earlyMs).toBeGreaterThanOrEqual(most * 0.8 - 1);
        expect(earlyMs).toBeLessThanOrEqual(most + 1);
      },
    ),
  );
});

test("a token that cannot be renewed is used to its end, however long it lives", () => {
  const tokens = { expiresInSeconds: 3600, refreshExpiresInSeconds: undefined, refreshToken: undefined };
  const end = { expiresAt: later(3600), refreshAt: later(3600) };
  expect(timesOf(tokens, method, noon, 0.5)).toMatchObject(end);
  expect(timesOf({ ...tokens, refreshToken: "rt" }, { ...method, refresh: "none" }, noon, 0.5)).toMatchObject(
    end,
  );
  const ofClient = { ...method, grant: "client_credentials" } as const;
  expect(timesOf(tokens, ofClient, noon, 0)).toMatchObject({ refreshAt: later(3300) });
});

describe("the life of a token that does not say it", () => {
  const silent = { expiresInSeconds: undefined, refreshExpiresInSeconds: undefined, refreshToken: "rt" };
  test("is not known", () => {
    expect(timesOf(silent, method, noon, 0)).toMatchObject({ expiresAt: undefined, refreshAt: undefined });
  });
  test("is what the integration says", () => {
    const known = { ...method, accessTokenLifetimeSeconds: 7200 };
    expect(timesOf(silent, known, noon, 0)).toMatchObject({ expiresAt: later(7200), refreshAt: later(6900) });
  });
  test("has no end where silence means that", () => {
    const known: OAuth2Method = {
      ...method,
      accessTokenLifetimeSeconds: 7200,
      responseQuirks: ["expires_in_missing_means_never"],
    };
    expect(timesOf(silent, known, noon, 0)).toMatchObject({ expiresAt: undefined });
  });
});
