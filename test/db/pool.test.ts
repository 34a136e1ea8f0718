import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Connection } from "#src/db/connection.ts";
import { DatabaseUnavailable, TooManyCallsWait } from "#src/db/errors.ts";
import { createPool, ownUse, type Lease } from "#src/db/pool.ts";

/** A pool whose connections do nothing: what counts here is who gets them, and when. */
function openPool(size: number) {
  const open = () => ({ lost: undefined, end: async () => undefined }) as unknown as Connection;
  const pool = createPool(size, open);
  const served: { readonly orgId: string; readonly number: number; readonly lease: Lease }[] = [];
  const asked = new Map<string, number>();
  return {
    pool,
    /** Those who have a connection now. */
    served,
    ask(orgId: string): void {
      const number = asked.get(orgId) ?? 0;
      asked.set(orgId, number + 1);
      void pool.lease(orgId, 600_000).then((lease) => served.push({ orgId, number, lease }));
    },
    leasedBy: (orgId: string) => served.filter((one) => one.orgId === orgId).length,
    finish(index: number): { orgId: string; number: number } | undefined {
      const [one] = served.splice(index, 1);
      one?.lease[Symbol.dispose]();
      return one;
    },
    /** Until all that can be served is served. */
    settle: () => new Promise<void>((resolve) => setImmediate(resolve)),
  };
}

const organizations = ["a", "b", "c", "d"];
const step = fc.oneof(
  fc.record({ ask: fc.constantFrom(...organizations, ownUse), times: fc.integer({ min: 1, max: 30 }) }),
  fc.record({ finish: fc.nat() }),
);

describe("whatever organisations ask for, and in whatever order they are done", () => {
  const history = { size: fc.integer({ min: 2, max: 12 }), steps: fc.array(step, { maxLength: 60 }) };

  test("none gets more than half of the connections, and each is served in the order it asked", async () => {
    await fc.assert(
      fc.asyncProperty(fc.record(history), async ({ size, steps }) => {
        const { ask, finish, leasedBy, served, settle } = openPool(size);
        const lastServed = new Map<string, number>();
        for (const one of steps) {
          const before = new Set(served);
          if ("ask" in one) for (let n = 0; n < one.times; n++) ask(one.ask);
          else if (served.length > 0) finish(one.finish % served.length);
          await settle();
          expect(served.length).toBeLessThanOrEqual(size);
          for (const orgId of [...organizations, ownUse]) {
            expect(leasedBy(orgId)).toBeLessThanOrEqual(Math.ceil(size / 2));
          }
          for (const { orgId, number } of served.filter((lease) => !before.has(lease))) {
            expect(number).toBe((lastServed.get(orgId) ?? -1) + 1);
            lastServed.set(orgId, number);
          }
        }
      }),
    );
  });

  test("everything is served in the end, and then all connections are free", async () => {
    await fc.assert(
      fc.asyncProperty(fc.record(history), async ({ size, steps }) => {
        const { ask, finish, pool, served, settle } = openPool(size);
        let open = 0;
        for (const one of steps) {
          if ("ask" in one) open += one.times;
          if ("ask" in one) for (let n = 0; n < one.times; n++) ask(one.ask);
          else if (served.length > 0 && finish(one.finish % served.length)) open -= 1;
          await settle();
        }
        for (; open > 0; open--) {
          expect(finish(0)).toBeDefined();
          await settle();
        }
        // Resolves once all are free.
        await pool.close();
      }),
    );
  });

  test("one that comes new is served after one operation of each of the others, and few of the service", async () => {
    await fc.assert(
      fc.asyncProperty(fc.record(history), fc.infiniteStream(fc.nat()), async ({ size, steps }, picks) => {
        const { ask, finish, leasedBy, served, settle } = openPool(size);
        for (const one of steps) {
          if ("ask" in one) for (let n = 0; n < one.times; n++) ask(one.ask);
          else if (served.length > 0) finish(one.finish % served.length);
          await settle();
        }
        ask("new");
        await settle();
        let finished = 0;
        while (leasedBy("new") === 0) {
          const ofOrganizations = served.filter(({ orgId }) => orgId !== ownUse);
          const [pick = 0] = picks.take(1);
          const one = ofOrganizations[pick % ofOrganizations.length];
          expect(one).toBeDefined();
          if (one !== undefined) finish(served.indexOf(one));
          finished += 1;
          await settle();
          expect(finished).toBeLessThanOrEqual(organizations.length + 1 + Math.ceil(size / 2));
        }
      }),
    );
  });
});

test.each([4, 6, 10, 50])(
  "of %i connections, others and the service find a free one, whatever two organisations ask for",
  async (size) => {
    const { ask, leasedBy, settle } = openPool(size);
    for (let n = 0; n < 400; n++) ask("a");
    await settle();
    for (let n = 0; n < 400; n++) ask("b");
    await settle();
    ask(ownUse);
    await settle();
    expect(leasedBy("a")).toBe(size / 2);
    expect(leasedBy("b")).toBeGreaterThanOrEqual(1);
    expect(leasedBy(ownUse)).toBe(1);
  },
);

test("with 400 waiting of each of three organisations, each gets its part of what is served", async () => {
  const { ask, finish, settle } = openPool(10);
  for (const orgId of ["a", "b", "c"]) for (let n = 0; n < 400; n++) ask(orgId);
  await settle();
  const done: Record<string, number> = { a: 0, b: 0, c: 0 };
  for (let n = 0; n < 300; n++) {
    const { orgId } = finish(0) ?? { orgId: "none" };
    done[orgId] = (done[orgId] ?? 0) + 1;
    await settle();
  }
  for (const orgId of ["a", "b", "c"]) expect(done[orgId]).toBeGreaterThan(70);
});

test("the look-up of keys goes before all that organisations have waiting", async () => {
  const { ask, finish, leasedBy, served, settle } = openPool(4);
  for (const orgId of organizations) for (let n = 0; n < 100; n++) ask(orgId);
  await settle();
  expect(served).toHaveLength(4);
  ask(ownUse);
  finish(0);
  await settle();
  expect(leasedBy(ownUse)).toBe(1);
});

describe("whoever waits in vain learns", () => {
  /** Two of one organisation, where it may have one connection; what the second is told. */
  async function waitInVain(lost: Error | undefined): Promise<unknown> {
    const open = () => ({ lost, end: async () => undefined }) as unknown as Connection;
    const pool = createPool(2, open);
    const first = await pool.lease("a", 600_000);
    const [next, last] = [pool.lease("a", 600_000), pool.lease("a", 50).catch((error: unknown) => error)];
    first[Symbol.dispose]();
    await next;
    return await last;
  }

  test("that its own organisation asks for too much, while its operations get on", async () => {
    expect(await waitInVain(undefined)).toBeInstanceOf(TooManyCallsWait);
  });

  test("that it is the database, while they end with their connections", async () => {
    expect(await waitInVain(new Error("no answer"))).toBeInstanceOf(DatabaseUnavailable);
  });
});
