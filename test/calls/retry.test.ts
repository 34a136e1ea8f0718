import { describe, expect, test } from "vitest";
import { waitBeforeRetry, type Outcome, type Repeatable } from "#src/calls/retry.ts";
import { UpstreamTimeout, UpstreamUnreachable } from "#src/outbound/errors.ts";

const now = new Date("2026-11-29T12:00:00Z");
const calm = { retries: 0, msLeft: 60_000, now, random: () => 0.5 };
const get: Repeatable = { method: "GET", headers: {} };

function answer(status: number, retryAfter?: string): Outcome {
  return { reply: { status, headers: retryAfter === undefined ? {} : { "retry-after": retryAfter } } };
}
const broken = (isTransient = true) =>
  new UpstreamUnreachable("bank.example", "", { stage: "HTTP" }, isTransient);

describe("a call that was answered with 503 is tried again if a second call does no harm:", () => {
  test.each<[string, Partial<Repeatable>, boolean]>([
    ["GET", {}, true],
    ["HEAD", { method: "HEAD" }, true],
    ["OPTIONS", { method: "OPTIONS" }, true],
    ["PUT", { method: "PUT" }, false],
    ["DELETE", { method: "DELETE" }, false],
    ["POST", { method: "POST" }, false],
    ["POST with an Idempotency-Key", { method: "POST", headers: { "IDEMPOTENCY-Key": "a" } }, true],
    ["POST with an empty one", { method: "POST", headers: { "Idempotency-Key": "" } }, false],
    [
      "POST with one that its Connection header takes out",
      { method: "POST", headers: { "idempotency-key": "a", connection: "Idempotency-Key" } },
      false,
    ],
    ["PATCH", { method: "PATCH", headers: { "idempotency-key": "a" } }, false],
    ["GET with a body of a mebibyte", { body: Buffer.alloc(1024 * 1024) }, true],
    ["GET with a larger body", { body: Buffer.alloc(1024 * 1024 + 1) }, false],
  ])("%s", (_, call, expected) => {
    expect(waitBeforeRetry({ ...get, ...call }, answer(503), calm) !== undefined).toBe(expected);
  });
});

test.each([
  [200, false], [301, false], [400, false], [401, false], [404, false], [408, false], [425, false], [429, true],
  [500, false], [501, false], [502, true], [503, true], [504, true], [505, false],
])("status %i is tried again: %s", (status, expected) => {
  expect(waitBeforeRetry(get, answer(status), calm) !== undefined).toBe(expected);
}); // prettier-ignore

describe("a call without an answer is tried again", () => {
  const post: Repeatable = { method: "POST", headers: {} };
  test.each<[string, Repeatable, Outcome, boolean]>([
    ["with any method, if nothing was sent", post, { error: broken(), sent: false }, true],
    ["not with POST, once it was sent", post, { error: broken(), sent: true }, false],
    ["with GET, also once it was sent", get, { error: broken(), sent: true }, true],
    ["not if it would fail again", get, { error: broken(false), sent: false }, false],
    [
      "not if its time was up",
      get,
      { error: new UpstreamTimeout("bank.example", "", { stage: "TCP" }), sent: false },
      false,
    ],
    ["not after a fault of ours", get, { error: new TypeError("x"), sent: false }, false],
  ])("%s", (_, call, outcome, expected) => {
    expect(waitBeforeRetry(call, outcome, calm) !== undefined).toBe(expected);
  });
});

describe("the wait", () => {
  test.each([
    ["what Retry-After says in seconds", "3", 3_000],
    ["nothing for a Retry-After of 0", "0", 0],
    ["until the date that Retry-After says", "Sun, 29 Nov 2026 12:00:07 GMT", 7_000],
    ["nothing for a date that is over", "Sun, 29 Nov 2026 11:00:00 GMT", 0],
    ["as long as nothing holds up callers", "10", 10_000],
    ["not at all, if the service asks for longer", "11", undefined],
    ["not at all, if the service asks for a long time", "999999999999", undefined],
    ["not at all, if the date is far", "Mon, 30 Nov 2026 12:00:00 GMT", undefined],
    ["as without one, for a Retry-After that is none", "soon", 150],
    ["as without one, for a negative one", "-1", 150],
  ])("is %s", (_, retryAfter, expected) => {
    expect(waitBeforeRetry(get, answer(503, retryAfter), calm)).toBe(expected);
  });

  test("is short without Retry-After, longer the second time, and not the same for all", () => {
    const wait = (retries: number, random: number) =>
      waitBeforeRetry(get, answer(503), { ...calm, retries, random: () => random });
    expect([wait(0, 0), wait(0, 1), wait(1, 0), wait(1, 1)]).toStrictEqual([100, 200, 200, 400]);
  });

  test.each([
    ["3", 3_001, 3_000],
    ["3", 3_000, undefined],
    [undefined, 150, undefined],
    [undefined, -1, undefined],
  ])("with Retry-After %s and %i ms left is %s", (retryAfter, msLeft, expected) => {
    expect(waitBeforeRetry(get, answer(429, retryAfter), { ...calm, msLeft })).toBe(expected);
  });

  test("comes twice at most", () => {
    const waits = [0, 1, 2, 3].map((retries) => waitBeforeRetry(get, answer(503, "0"), { ...calm, retries }));
    expect(waits).toStrictEqual([0, 0, undefined, undefined]);
  });
});
