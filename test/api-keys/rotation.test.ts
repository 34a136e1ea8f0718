import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { judge } from "#src/verification/judge.ts";
import { hasEnded, type ApiKey, type KeySecret } from "#src/api-keys/api-key.ts";
import { endGrace, replaceUnused, rotate } from "#src/api-keys/rotation.ts";
import { ServiceError } from "#src/platform/errors.ts";

const noon = new Date("2026-01-01T12:00:00Z");
const later = (ms: number) => new Date(noon.getTime() + ms);
const day = 24 * 60 * 60 * 1000;

function secret(name: string, createdAt = noon): KeySecret {
  const unused = { createdAt, validUntil: undefined, lastUsedAt: undefined };
  return { hash: Buffer.from(name), hashKind: "peppered", hint: name, ...unused };
}

function key(fields: Partial<ApiKey> = {}): ApiKey {
  return {
    orgId: "org_1",
    id: "key_1",
    name: "k",
    environment: "sandbox",
    kind: "issued",
    callerServiceSlug: undefined,
    scopes: ["a:view"],
    actAsUserId: undefined,
    secrets: [secret("first")],
    createdAt: noon,
    expiresAt: undefined,
    revokedAt: undefined,
    rateLimitPerMinute: undefined,
    connections: undefined,
    allowedCidrs: [],
    metadata: {},
    ...fields,
  };
}

/** Whether the service would let the secret in, by the rule that it applies to every request. */
function accepts(of: ApiKey, hint: string, at: Date): boolean {
  const found = of.secrets.find((one) => one.hint === hint);
  if (found === undefined) return false;
  try {
    judge(
      {
        ...of,
        activeUserId: undefined,
        boundUserId: undefined,
        secretHash: hint,
        validUntil: found.validUntil,
        wasUsed: true,
        allows: () => true,
      },
      { environment: "sandbox", callerServiceSlug: undefined, address: undefined },
      at,
    );
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

describe("replacing a secret that was lost on its way", () => {
  const used = (of: ApiKey): ApiKey => ({
    ...of,
    secrets: of.secrets.map((one, index) => (index === 0 ? { ...one, lastUsedAt: noon } : one)),
  });

  test("ends it at once and leaves the promise of the rotation before as it was", () => {
    const { key: rotated } = rotate(used(key()), secret("lost"), day, noon);
    const { key: replaced, previousValidUntil } = replaceUnused(rotated, secret("third"), later(1_000));
    expect(previousValidUntil).toStrictEqual(later(1_000));
    expect(accepts(replaced, "lost", later(1_000))).toBe(false);
    expect(accepts(replaced, "third", later(1_000))).toBe(true);
    expect(accepts(replaced, "first", later(day - 1))).toBe(true);
    expect(accepts(replaced, "first", later(day))).toBe(false);
  });

  test("also gives a new key its first secret", () => {
    const { key: replaced } = replaceUnused(key(), secret("second"), noon);
    expect([accepts(replaced, "first", noon), accepts(replaced, "second", noon)]).toStrictEqual([
      false,
      true,
    ]);
  });

  test("is refused once it was presented, however long ago the ones before were", () => {
    expect(() => replaceUnused(used(key()), secret("x"), later(10 * day))).toThrow(/has been used/);
    const { key: rotated } = rotate(key(), secret("second"), day, noon);
    expect(() => replaceUnused(used(rotated), secret("x"), noon)).toThrow(/has been used/);
  });

  test("is refused of an imported key until that was rotated: its holders have the secret", () => {
    const imported = key({ kind: "imported" });
    expect(() => replaceUnused(imported, secret("x"), noon)).toThrow(/is the imported one/);
    const { key: rotated } = rotate(imported, secret("lost"), day, noon);
    const { key: replaced } = replaceUnused(rotated, secret("third"), noon);
    expect([accepts(replaced, "first", noon), accepts(replaced, "lost", noon)]).toStrictEqual([true, false]);
  });

  test("makes no sixth live secret, and none of a revoked or expired key or of a service principal", () => {
    let many = key();
    for (let i = 0; i < 4; i++) many = rotate(many, secret(`s${i}`), day, noon).key;
    for (let i = 0; i < 4; i++) many = replaceUnused(many, secret(`r${i}`), noon).key;
    expect(many.secrets.filter(({ validUntil }) => !hasEnded(validUntil, noon))).toHaveLength(5);
    expect(() => replaceUnused(key({ revokedAt: noon }), secret("x"), noon)).toThrow(/revoked/);
    expect(() => replaceUnused(key({ expiresAt: noon }), secret("x"), noon)).toThrow(/expired/);
    const principal = key({ kind: "service_principal", callerServiceSlug: "orchestration" });
    expect(() => replaceUnused(principal, secret("x"), noon)).toThrow(/belongs to a connection/);
  });
});

type Step = { readonly grace: number | "replace unused"; readonly isUsed: boolean; readonly waitMs: number };
const steps = fc.array(
  fc.record({
    grace: fc.constantFrom(0, 1_000, day, "replace unused" as const),
    /** Whether somebody presents the newest secret before. */
    isUsed: fc.boolean(),
    waitMs: fc.constantFrom(0, 1, 1_000, day, 2 * day),
  }),
  { maxLength: 12 },
);
const expiry = fc.option(fc.integer({ min: 1, max: 5 * day }).map(later), { nil: undefined });

/** Rotates as often as it may, and notes what each rotation promised. */
function play(expiresAt: Date | undefined, all: readonly Step[]) {
  let at = noon;
  let now = key({ expiresAt });
  const promises = new Map<string, Date>();
  for (const [index, { grace, isUsed, waitMs }] of all.entries()) {
    at = new Date(at.getTime() + waitMs);
    const [newest, ...earlier] = now.secrets;
    if (isUsed) now = { ...now, secrets: [{ ...newest!, lastUsedAt: at }, ...earlier] };
    const wasUsed = now.secrets[0]!.lastUsedAt !== undefined;
    const fresh = secret(`s${index}`, at);
    try {
      const rotation =
        grace === "replace unused" ? replaceUnused(now, fresh, at) : rotate(now, fresh, grace, at);
      if (grace === "replace unused") expect(wasUsed).toBe(false);
      promises.set(newest!.hint, rotation.previousValidUntil);
      now = rotation.key;
      expect(now.secrets.filter(({ validUntil }) => !hasEnded(validUntil, at)).length).toBeLessThanOrEqual(5);
    } catch (error) {
      // Expired, too many secrets, or one in use: nothing was promised.
      expect(error).toBeInstanceOf(ServiceError);
    }
  }
  return { now, promises };
}

test("however often a key is rotated, and its newest secret replaced, every promise is kept to the millisecond and no life is extended", () => {
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
