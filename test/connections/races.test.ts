import { afterAll, beforeAll, expect, test } from "vitest";
import { startService, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service[Symbol.asyncDispose]());

const baseUrl = "https://bank.example";

function upsert(slug: string, apiKey: string) {
  return service.org.client.connections.upsertServiceConnection({ serviceSlug: slug, baseUrl, apiKey });
}

interface Hashes {
  readonly before: string | null;
  readonly after: string | null;
}

async function chainOf(id: string): Promise<Hashes[]> {
  const { events } = await service.org.client.audit.listAuditEvents({ target: id });
  return events.toReversed().map((event) => event.details!["apiKeyHash"] as unknown as Hashes);
}

test("an upsert beside an update undoes none of it, and each records what the other left", async () => {
  for (let round = 0; round < 15; round++) {
    const slug = `custom:pair-${round}`;
    const { connection } = await upsert(slug, "first");
    const id = connection!.id;
    await Promise.all([
      upsert(slug, `upserted-${round}`),
      service.org.client.connections.updateConnection({ id, active: false, apiKey: `updated-${round}` }),
    ]);
    const { connection: after } = await service.org.client.connections.getConnection({ id });
    expect(after!.active).toBe(false);
    const chain = await chainOf(id);
    expect(chain.slice(1).map(({ before }) => before)).toStrictEqual(
      chain.slice(0, -1).map((one) => one.after),
    );
    const rows = await service.postgres.asOwner("select version from credentials where connection_id = $1", [
      id,
    ]);
    expect(rows[0]!["version"]).toBe(3);
  }
});

test("an upsert beside a deletion leaves the one or the other, and never fails", async () => {
  for (let round = 0; round < 15; round++) {
    const slug = `custom:gone-${round}`;
    const { connection } = await upsert(slug, "first");
    const outcomes = await Promise.allSettled([
      upsert(slug, "one"),
      upsert(slug, "two"),
      service.org.client.connections.deleteConnection({ id: connection!.id }),
    ]);
    expect(outcomes.map(({ status }) => status)).toStrictEqual(["fulfilled", "fulfilled", "fulfilled"]);
    const rows = await service.postgres.asOwner("select id from connections where slug = $1", [slug]);
    expect(rows.length).toBeLessThanOrEqual(1);
  }
});
