import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { startService } from "../support/service.ts";
import { startUpstream } from "../support/upstream.ts";
import { createTestDatabase } from "../support/postgres.ts";

const rootKey = () => randomBytes(32).toString("base64");

describe("credentials in the database", () => {
  test("do not open as another connection's, another organisation's, or an older version's", async () => {
    await using service = await startService();
    await using upstream = await startUpstream();
    const globex = await service.newOrganization("globex");
    const put = async (tenant: typeof globex, slug: string, apiKey: string) => {
      const wanted = { serviceSlug: slug, baseUrl: upstream.url, apiKey };
      return (await tenant.client.connections.upsertServiceConnection(wanted)).connection!.id;
    };
    const victim = await put(globex, "custom:a", "globex-secret");
    const mine = await put(service.org, "custom:a", "acme-secret");
    const beside = await put(service.org, "custom:b", "acme-secret-b");
    const call = () =>
      service.org.client.connections.callService({ service: "custom:a", method: "GET", path: "/" });
    await call();
    const [before] = await service.postgres.asOwner("select * from credentials where connection_id = $1", [
      mine,
    ]);

    const tamper = async (statement: string, ...values: unknown[]) => {
      await service.postgres.asOwner(statement, [mine, ...values]);
      // What calls need of a connection is remembered for so long.
      service.clock.advance(5_000);
    };
    const copyFrom = (id: string) =>
      tamper(
        `update credentials c set sealed = o.sealed, kek_version = o.kek_version, version = o.version
         from credentials o where o.connection_id = $2 and c.connection_id = $1`,
        id,
      );
    for (const other of [victim, beside]) {
      await copyFrom(other);
      await expect(call()).rejects.toThrow(/internal error/);
    }
    await put(service.org, "custom:a", "acme-second");
    await call();
    await tamper("update credentials set sealed = $2 where connection_id = $1", before!["sealed"]);
    await expect(call()).rejects.toThrow(/internal error/);
    expect(upstream.asked.map(({ headers }) => headers.authorization)).toStrictEqual([
      "Bearer acme-secret",
      "Bearer acme-second",
    ]);
  });

  test("are nowhere in the clear, in no table and no column", async () => {
    await using service = await startService();
    const wanted = { serviceSlug: "aml", baseUrl: "https://aml.example", apiKey: "canary-of-the-database" };
    await service.org.client.connections.upsertServiceConnection(wanted);
    const tables = await service.postgres.asOwner(
      "select table_name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'",
    );
    expect(tables.length).toBeGreaterThan(10);
    for (const { table_name: table } of tables) {
      const [{ dump } = { dump: "" }] = await service.postgres.asOwner(
        `select string_agg(t::text, ' ') as dump from "${String(table)}" t`,
      );
      for (const form of [
        "canary-of-the-database",
        Buffer.from("canary-of-the-database").toString("hex"),
        service.org.secret,
      ]) {
        expect(String(dump)).not.toContain(form);
      }
    }
  });
});

test("a root key other than the database's stops the start and names both by id", async () => {
  await using postgres = await createTestDatabase();
  const right = rootKey();
  await using first = await startService({ postgres, rootKey: right });
  expect((await first.org.rest("GET", "/api/auth/me")).status).toBe(200);
  await expect(startService({ postgres, rootKey: rootKey() })).rejects.toThrow(
    /root key \(local:\w+\) does not open .* local:\w+/,
  );
  await using again = await startService({ postgres, rootKey: right });
  expect((await again.as(first.org.secret).rest("GET", "/api/auth/me")).status).toBe(200);
});
