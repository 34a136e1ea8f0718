import { Code } from "@connectrpc/connect";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openConnection } from "#src/db/connection.ts";
import type { TestService } from "../support/service.ts";
import { untilOneWaits } from "../support/locks.ts";
import { startEvents, type TestEvents } from "./support.ts";

let logs: TestEvents;
let service: TestService;
beforeAll(async () => {
  logs = await startEvents();
  ({ service } = logs);
});
afterAll(() => logs[Symbol.asyncDispose]());

/** A group on a new log with events of these subjects. */
async function groupOf(subjects: readonly (string | undefined)[], more: object = {}) {
  const log = await logs.newChannel();
  const { group } = await service.org.client.eventGroups.createEventGroup({ name: "workers", log, ...more });
  if (subjects.length > 0) await logs.send(log, ...subjects.map((subject) => ({ subject })));
  return { id: group!.id, log };
}

test("consumers of two replicas are given each event once, whoever pulls at the same time", async () => {
  const total = 240;
  const { id } = await groupOf(Array.from({ length: total }, () => undefined));
  const other = (await logs.replica()).as(service.org.secret);
  const given: number[] = [];
  async function consume(groups: TestService["org"]["client"]["eventGroups"], max: number) {
    for (;;) {
      const { deliveries } = await groups.pullEvents({ id, max });
      if (deliveries.length === 0) return;
      given.push(...deliveries.map(({ event }) => Number(event!.seq)));
      await groups.ackEvents({ id, tokens: deliveries.map(({ token }) => token) });
    }
  }
  const replicas = [service.org.client.eventGroups, other.client.eventGroups];
  await Promise.all(replicas.flatMap((groups) => [1, 7, 10, 50].map((max) => consume(groups, max))));
  expect(given.toSorted((a, b) => a - b)).toEqual(Array.from({ length: total }, (_, i) => i + 1));
});

test("an acknowledgement and a late one of an older delivery cannot both win", async () => {
  const { id } = await groupOf([undefined]);
  const { eventGroups: groups } = service.org.client;
  const one = async () => (await groups.pullEvents({ id })).deliveries[0]!;
  const old = await one();
  service.clock.advance(31_000);
  const fresh = await one();
  const asked = Array.from({ length: 8 }, (_, i) =>
    i % 2 === 0
      ? groups.nackEvents({ id, tokens: [old.token] }).then(() => "old")
      : groups.nackEvents({ id, tokens: [fresh.token] }).then(() => "fresh"),
  );
  const won = (await Promise.allSettled(asked)).flatMap((end) =>
    end.status === "fulfilled" ? [end.value] : [],
  );
  expect(won).toEqual(["fresh"]);
  expect(await one()).toMatchObject({ attempt: 3 });
});

test("consumers that settle one by one at the same time have effect one by one, and a late one has none", async () => {
  const total = 100;
  const { id } = await groupOf(Array.from({ length: total + 1 }, () => undefined));
  const { eventGroups: groups } = service.org.client;
  const late = (await groups.pullEvents({ id, max: 1 })).deliveries[0]!.token;
  service.clock.advance(31_000);
  const { deliveries } = await groups.pullEvents({ id, max: 1 });
  const { deliveries: others } = await groups.pullEvents({ id, max: total });
  const settled = await Promise.allSettled([
    ...[...deliveries, ...others].map(({ token }, i) =>
      i % 10 === 9 ? groups.nackEvents({ id, tokens: [token] }) : groups.ackEvents({ id, tokens: [token] }),
    ),
    groups.nackEvents({ id, tokens: [late] }),
  ]);
  expect(settled.filter(({ status }) => status === "rejected")).toHaveLength(1);
  expect(settled.at(-1)).toMatchObject({ status: "rejected", reason: { code: Code.FailedPrecondition } });
  const { deliveries: again } = await groups.pullEvents({ id, max: total });
  expect(again.map(({ event }) => Number(event!.seq))).toEqual(
    Array.from({ length: 10 }, (_, i) => (i + 1) * 10),
  );
});

/** Does it while no group can be read, so that the service is seen to have begun what waits for that. */
async function whileLocked(work: (untilItWaits: () => Promise<void>) => Promise<void>) {
  const { postgres } = service;
  await using holder = openConnection(postgres.url, {});
  await holder.run("begin");
  await holder.run("lock table event_groups in access exclusive mode");
  await work(() => untilOneWaits(postgres));
  await holder.run("commit");
}

describe("a caller that hangs up", () => {
  /** A pull over REST that can be cut. */
  function cuttable(id: string, waitSeconds: number) {
    const cutting = new AbortController();
    const logged = service.watchLog();
    const done = fetch(`${service.url}/api/event-groups/${id}/pull`, {
      method: "POST",
      headers: { authorization: `Bearer ${service.org.secret}`, "content-type": "application/json" },
      body: JSON.stringify({ waitSeconds }),
      signal: cutting.signal,
    }).catch(() => undefined);
    return async () => {
      cutting.abort();
      await done;
      // Until the service has seen it.
      await expect.poll(logged, { interval: 5, timeout: 10_000 }).toContain('"cut":true');
    };
  }

  test("while it is given events gives them back at once, and they count as not delivered", async () => {
    const { id } = await groupOf([undefined, undefined]);
    const { postgres } = service;
    await using holder = openConnection(postgres.url, {});
    await holder.run("begin");
    await holder.run("select from event_groups where id = $1 for update", [id]);
    const cut = cuttable(id, 0);
    await untilOneWaits(postgres);
    await cut();
    await holder.run("commit");
    // Asked while they are given back, it waits for that.
    const pull = { id, max: 2, waitSeconds: 20 };
    const first = (await service.org.client.eventGroups.pullEvents(pull)).deliveries;
    const rest = first.length < 2 ? (await service.org.client.eventGroups.pullEvents(pull)).deliveries : [];
    const given = [...first, ...rest].map(({ event, attempt }) => [Number(event!.seq), attempt]);
    expect(given).toEqual([[1, 1], [2, 1]]); // prettier-ignore
  });

  test("while it waits leaves its place to others", async () => {
    const { id, log } = await groupOf([]);
    let cut = async () => {};
    await whileLocked(async (untilItWaits) => {
      cut = cuttable(id, 30);
      await untilItWaits();
    });
    const other = service.org.client.eventGroups.pullEvents({ id, waitSeconds: 30 });
    await cut();
    await logs.send(log, {});
    expect((await other).deliveries).toMatchObject([{ attempt: 1 }]);
  });
});

test("a caller whose key ends while it waits is given nothing", async () => {
  const { id, log } = await groupOf([]);
  const { apiKeys, eventGroups } = service.org.client;
  const { apiKey, secret } = await apiKeys.createApiKey({ name: "worker", scopes: ["events:consume"] });
  let refused: Promise<void> | undefined;
  await whileLocked(async (untilItWaits) => {
    const waiting = service.as(secret).client.eventGroups.pullEvents({ id, waitSeconds: 30 });
    refused = expect(waiting).rejects.toMatchObject({ code: Code.Unauthenticated });
    await untilItWaits();
    await apiKeys.revokeApiKey({ id: apiKey!.id });
  });
  await refused;
  await logs.send(log, {});
  const { deliveries } = await eventGroups.pullEvents({ id, waitSeconds: 30 });
  expect(deliveries).toMatchObject([{ attempt: 1 }]);
});

type Step =
  | { readonly do: "pull"; readonly max: number }
  | { readonly do: "send"; readonly subjects: readonly string[] }
  | { readonly do: "wait" }
  | { readonly do: "ack" | "nack"; readonly which: number };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({ do: fc.constant("pull" as const), max: fc.integer({ min: 1, max: 5 }) }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant("send" as const),
        subjects: fc.array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 5 }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("wait" as const) }) },
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constantFrom("ack" as const, "nack" as const), which: fc.nat(20) }),
    },
  ),
  { minLength: 10, maxLength: 40 },
);

test.each(["none", "subject", "log"])(
  "whatever consumers do, no event is lost, in two hands, or out of its order (%s)",
  { timeout: 60_000 },
  async (order) => {
    const { eventGroups: groups } = service.org.client;
    await fc.assert(
      fc.asyncProperty(steps, async (all) => {
        const { id, log } = await groupOf([], { order, maxDeliveries: 100 });
        const subjects: string[] = [];
        const out = new Map<string, number>();
        const done = new Set<number>();
        const sameOrder = (one: number, other: number) =>
          order === "log" || (order === "subject" && subjects[one - 1] === subjects[other - 1]);

        async function pull(max: number) {
          const { deliveries } = await groups.pullEvents({ id, max });
          const seqs = deliveries.map(({ event }) => Number(event!.seq));
          for (const [i, seq] of seqs.entries()) {
            expect(done).not.toContain(seq);
            expect([...out.values()]).not.toContain(seq);
            // All that stand before it in its order are done, or before it in this answer.
            for (let earlier = 1; earlier < seq; earlier++) {
              if (sameOrder(earlier, seq))
                expect(done.has(earlier) || seqs.indexOf(earlier, 0) < i).toBe(true);
              if (sameOrder(earlier, seq) && !done.has(earlier)) expect(seqs).toContain(earlier);
            }
          }
          for (const { token, event } of deliveries) out.set(token, Number(event!.seq));
        }

        async function settle(how: "ack" | "nack", token: string, seq: number) {
          const tokens = [token];
          await (how === "ack" ? groups.ackEvents({ id, tokens }) : groups.nackEvents({ id, tokens }));
          out.delete(token);
          if (how === "ack") done.add(seq);
          else
            for (const [other, held] of out) {
              const isBehind =
                held > seq && sameOrder(held, seq) && other.split(".")[0] === token.split(".")[0];
              if (isBehind) out.delete(other);
            }
        }

        for (const step of all) {
          const held = [...out][
            step.do === "ack" || step.do === "nack" ? step.which % Math.max(1, out.size) : 0
          ];
          if (step.do === "pull") await pull(step.max);
          else if (step.do === "send") {
            subjects.push(...step.subjects);
            await logs.send(log, ...step.subjects.map((subject) => ({ subject })));
          } else if (step.do === "wait") {
            service.clock.advance(31_000);
            out.clear();
          } else if (held !== undefined) await settle(step.do, ...held);
        }
        for (let left = 0; left !== done.size || done.size < subjects.length;) {
          left = done.size;
          await pull(100);
          for (const [token, seq] of [...out].toSorted(([, a], [, b]) => a - b))
            await settle("ack", token, seq);
          if (left === done.size) break;
        }
        expect(done.size).toBe(subjects.length);
      }),
      { numRuns: 4 },
    );
  },
);
