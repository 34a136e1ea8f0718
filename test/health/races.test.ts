import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { openConnection } from "#src/db/connection.ts";
import { startReplicas } from "../support/replicas.ts";
import type { TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";

let replicas: Awaited<ReturnType<typeof startReplicas>>;
let upstream: Upstream;
beforeAll(async () => {
  [replicas, upstream] = await Promise.all([startReplicas(), startUpstream()]);
});
afterAll(async () => {
  await replicas[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
});

const rounds = 4;

/** Moves, tests, tags and deletes a connection, over and over. */
async function disturb(of: TestService, secret: string, slug: string): Promise<number[]> {
  const by = of.as(secret);
  const statuses: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const wanted = {
      serviceSlug: slug,
      baseUrl: `${upstream.url}/${slug.slice(7)}/${round}`,
      apiKey: "a-key",
    };
    const made = await by.rest("POST", "/api/service-connections", wanted);
    expect(made.body).toMatchObject({ data: expect.anything() });
    const path = `/api/connections/${made.body.data.connection.id}`;
    const tested = await by.rest("POST", `${path}/test`, {});
    const tagged = await by.rest("PATCH", path, { tags: [`round-${round}`] });
    statuses.push(made.status, tested.status, tagged.status);
    if (round % 2 === 1) statuses.push((await by.rest("DELETE", path)).status);
  }
  return statuses;
}

test("changes, tests and deletions of connections, and the sweeps of two replicas, never stop each other", async () => {
  const { one, other, postgres } = replicas;
  const tenants = [one.org, await one.newOrganization("globex")];
  let n = 0;
  upstream.answer(() => ({ status: n++ % 2 === 0 ? 200 : 500 }));
  let isOver = false;
  const sweep = async ({ app, clock }: TestService) => {
    while (!isOver) {
      clock.advance(70_000);
      await app.loops.health.runOnce();
    }
  };
  const sweeping = Promise.all([sweep(one), sweep(other)]);
  const statuses = await Promise.all(
    tenants.flatMap(({ secret }, t) =>
      [0, 1, 2].map((i) => disturb(i % 2 === 0 ? one : other, secret, `custom:r${t}-${i}`)),
    ),
  );
  isOver = true;
  await sweeping;
  expect(new Set(statuses.flat())).toEqual(new Set([200, 201]));
  expect(one.logged() + other.logged()).not.toContain("deadlock");

  // Nothing is left of what was deleted, and each connection has a number of its own.
  const [left] = await postgres.asOwner(
    `select count(*)::int as n from connection_transitions t
     where not exists (select from connections c where c.org_id = t.org_id and c.id = t.connection_id)`,
  );
  expect(left).toEqual({ n: 0 });
  const numbers = await postgres.asOwner(
    `select org_id, array_agg(seq) as seqs from (
       select org_id, seq from connection_changes union all select org_id, seq from connection_farewells
     ) s group by org_id`,
  );
  expect(numbers).toHaveLength(2);
  for (const { seqs } of numbers) expect(new Set(seqs as string[]).size).toBe((seqs as string[]).length);
});

test("a deletion waits for what forgets old transitions before it locks the numbers of its organisation", async () => {
  const { one, postgres } = replicas;
  const wanted = { serviceSlug: "custom:gone", baseUrl: upstream.url, apiKey: "a-key" };
  const { body } = await one.org.rest("POST", "/api/service-connections", wanted);
  const { id } = body.data.connection;
  await one.app.loops.health.runOnce();
  await using forgetting = openConnection(postgres.url, {});
  await forgetting.run("begin");
  await forgetting.run("select from connection_transitions where connection_id = $1 for update", [id]);
  const deleted = one.org.rest("DELETE", `/api/connections/${id}`);
  await vi.waitUntil(
    async () => {
      const waits =
        "select count(*)::int as n from pg_locks where not granted and locktype = 'transactionid'";
      return (await postgres.asOwner(waits))[0]?.["n"] !== 0;
    },
    { timeout: 2_500, interval: 5 },
  );
  await forgetting.run("select from connection_heads where org_id = $1 for update nowait", [one.org.orgId]);
  await forgetting.run("commit");
  expect((await deleted).status).toBe(200);
});
