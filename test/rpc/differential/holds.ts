import { expect } from "vitest";
import { openConnection } from "#src/db/connection.ts";
import type { TestDatabase } from "../../support/postgres.ts";
import { startUpstream } from "../../support/upstream.ts";
import type { Side } from "./two-ways.ts";

/** Keeps one call where it is, until it is let go or disposed of. */
export interface Hold extends AsyncDisposable {
  /** Until a call is held. */
  reached(): Promise<void>;
  letGo(): Promise<void>;
}

/** Keeps calls with a new key in the gate, which stores the first use of a secret before they go on. */
export async function holdGate(side: Side, scopes: readonly string[]): Promise<Hold & { secret: string }> {
  const { client, postgres } = { ...side.service, ...side.service.org };
  const { apiKey, secret } = await client.apiKeys.createApiKey({ name: "held", scopes: [...scopes] });
  return { ...(await lockRow(postgres, "api_key_secrets", "key_id", apiKey!.id)), secret };
}

/** Keeps calls that change the user in their handler. */
export async function holdUser(side: Side): Promise<Hold & { id: string }> {
  const { client, postgres } = { ...side.service, ...side.service.org };
  const { user } = await client.directory.upsertUser({ email: "held@example.com" });
  return { ...(await lockRow(postgres, "users", "id", user!.id)), id: user!.id };
}

async function lockRow(postgres: TestDatabase, table: string, column: string, id: string): Promise<Hold> {
  const holder = openConnection(postgres.url, {});
  await holder.run("begin");
  await holder.run(`select from ${table} where ${column} = $1 for update`, [id]);
  const [row] = await holder.run("select pg_backend_pid() as pid");
  const waiting = "select from pg_stat_activity where $1::int = any (pg_blocking_pids(pid))";
  const letGo = () => holder.end();
  return {
    async reached() {
      const poll = () => postgres.asOwner(waiting, [String(row!["pid"])]);
      await expect.poll(poll, { interval: 5, timeout: 20_000 }).not.toHaveLength(0);
    },
    letGo,
    [Symbol.asyncDispose]: letGo,
  };
}

/** Keeps calls of `custom:slow` in their handler, which waits for the connected service. */
export async function holdHandler(side: Side): Promise<Hold> {
  const upstream = await startUpstream();
  const connection = { serviceSlug: "custom:slow", baseUrl: upstream.url, apiKey: "the-siblings-own-key" };
  await side.service.org.client.connections.upsertServiceConnection(connection);
  const released = Promise.withResolvers<void>();
  upstream.answer(async () => {
    await released.promise;
    return {};
  });
  return {
    async reached() {
      await expect.poll(() => upstream.asked.length, { interval: 5, timeout: 20_000 }).toBeGreaterThan(0);
    },
    letGo: async () => released.resolve(),
    async [Symbol.asyncDispose]() {
      released.resolve();
      await upstream[Symbol.asyncDispose]();
    },
  };
}
