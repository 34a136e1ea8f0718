import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { admit, hasEnded, type ApiKey, type KeySecret } from "#src/api-keys/api-key.ts";
import { endGrace, rotate } from "#src/api-keys/rotation.ts";

const noon = new Date("2026-01-01T12:00:00Z");
const later = (ms: number) => new Date(noon.getTime() + ms);
const day = 24 * 60 * 60 * 1000;

function secret(name: string, createdAt = noon): KeySecret {
  return { hash: Buffer.from(name), hint: name, createdAt, validUntil: undefined, lastUsedAt: undefined };
}

function key(fields: Partial<ApiKey> = {}): ApiKey {
  return {
    orgId: "org_1",
    id: "key_1",
    name: "k",
    environment: "sandbox",
    scopes: ["a:view"],
    actAsUserId: undefined,
    secrets: [secret("first")],
    createdAt: noon,
    expiresAt: undefined,
    revokedAt: undefined,
    rateLimitPerMinute: undefined,
    ...fields,
  };
}

/** Whether the service would let the secret in, by the rule that it applies to every request. */
function accepts(of: ApiKey, hint: string, at: Date): boolean {
  const found = of.secrets.find((one) => one.hint === hint);
  if (found === undefined) return false;
  try {
    admit({ ...of, activeUserId: undefined, validUntil: found.validUntil }, "sandbox", at);
    return true;
  } catch {
    return false;
  }
}

describe("after a rotation", () => {
  const { key: rotated } = rotate(key(), secret("second"), day, noon);
  test.each([
    ["the new secret at once", "second", 0, true],
    ["the old secret in the last millisecond of grace", "first", day - 1, true],
    ["the old secret when grace is over", "first", day, false],
    ["the new secret when grace is over", "second", day, true],
    ["a secret that was never issued", "other", 0, false],
  ])("%s", (_, hint, ms, expected) => {
    expect(accepts(rotated, hint, later(ms))).toBe(expected);
  });

  test("without grace, the old secret is refused at once", () => {
    expect(accepts(rotate(key(), secret("second"), 0, noon).key, "first", noon)).toBe(false);
  });

  test("the old secret never outlives its key", () => {
    const { previousValidUntil } = rotate(key({ expiresAt: later(1_000) }), secret("second"), day, noon);
    expect(previousValidUntil).toStrictEqual(later(1_000));
  });

  test("a revoked or expired key, and one with five live secrets, is not rotated", () => {
    expect(() => rotate(key({ revokedAt: noon }), secret("x"), day, noon)).toThrow(/revoked/);
    expect(() => rotate(key({ expiresAt: noon }), secret("x"), day, noon)).toThrow(/expired/);
    let many = key();
    for (let i = 0; i < 4; i++) many = rotate(many, secret(`s${i}`), day, noon).key;
    expect(() => rotate(many, secret("sixth"), day, noon)).toThrow(/5 secrets that are still good/);
    expect(rotate(many, secret("sixth"), day, later(day)).key.secrets).toHaveLength(6);
  });

  test("ending the grace leaves the newest secret alone", () => {
    const ended = endGrace(rotated, later(1))!;
    expect(accepts(ended, "first", later(1))).toBe(false);
    expect(accepts(ended, "second", later(1))).toBe(true);
    expect(endGrace(ended, later(2))).toBeUndefined();
  });
});

type Step = { readonly graceMs: number; readonly waitMs: number };
const steps = fc.array(
  fc.record({ graceMs: fc.constantFrom(0, 1_000, day), waitMs: fc.constantFrom(0, 1, 1_000, day, 2 * day) }),
  { maxLength: 12 },
);
const expiry = fc.option(fc.integer({ min: 1, max: 5 * day }).map(later), { nil: undefined });

/** Rotates as often as it may, and notes what each rotation promised. */
function play(expiresAt: Date | undefined, all: readonly Step[]) {
  let at = noon;
  let now = key({ expiresAt });
  const promises = new Map<string, Date>();
  for (const [index, { graceMs, waitMs }] of all.entries()) {
    at = new Date(at.getTime() + waitMs);
    try {
      const before = now.secrets[0]!.hint;
      const rotation = rotate(now, secret(`s${index}`, at), graceMs, at);
      promises.set(before, rotation.previousValidUntil);
      now = rotation.key;
    } catch {
      // Expired, or too many secrets: nothing was promised.
    }
  }
  return { now, promises };
}

test("however often a key is rotated, every promise is kept to the millisecond and no life is extended", () => {
  fc.assert(
    fc.property(expiry, steps, (expiresAt, all) => {
      const { now, promises } = play(expiresAt, all);
      for (const [hint, promised] of promises) {
        expect(accepts(now, hint, new Date(promised.getTime() - 1))).toBe(true);
        expect(accepts(now, hint, promised)).toBe(false);
        if (expiresAt !== undefined) expect(promised.getTime()).toBeLessThanOrEqual(expiresAt.getTime());
      }
      if (expiresAt !== undefined) {
        for (const { hint } of now.secrets) expect(accepts(now, hint, expiresAt)).toBe(false);
      }
      const newest = now.secrets.filter(({ validUntil }) => validUntil === undefined);
      expect(newest).toHaveLength(1);
      expect(hasEnded(newest[0]!.validUntil, later(100 * day))).toBe(false);
    }),
  );
});
