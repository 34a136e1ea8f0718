import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import type { TestProject } from "vitest/node";
import { withDatabase } from "#src/db/address.ts";
import { openConnection } from "#src/db/connection.ts";
import { startEmbeddedPostgres } from "#src/db/embedded/supervisor.ts";
import { migrate } from "#src/db/migrate.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** The run's server, as a user who may create databases, and the migrated database that tests copy. */
    postgres: { readonly url: string; readonly template: string };
  }
}

const log = pino({ level: "warn" });

/**
 * One real Postgres for the whole run: the one that TEST_DATABASE_URL names, whose user must be able to create
 * databases and roles, else an embedded one that does not care for power cuts.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = await findServer();
  const template = `patchbay_template_${randomBytes(4).toString("hex")}`;
  await asAdmin(server.url, `create database ${template}`);
  await migrate({ url: withDatabase(server.url, template), log });
  project.provide("postgres", { url: server.url, template });
  return async () => {
    try {
      await asAdmin(server.url, `drop database ${template} with (force)`);
    } finally {
      await server.stop();
    }
  };
}

async function findServer(): Promise<{ url: string; stop(): Promise<void> }> {
  const external = process.env["TEST_DATABASE_URL"];
  if (external !== undefined) return { url: external, stop: () => Promise.resolve() };
  const dataDir = await mkdtemp(join(tmpdir(), "patchbay-test-"));
  const settings = { fsync: "off", synchronous_commit: "off", full_page_writes: "off" };
  const embedded = await startEmbeddedPostgres({ dataDir, log, settings });
  return {
    url: embedded.url,
    async stop() {
      await embedded.stop();
      await rm(dataDir, { recursive: true });
    },
  };
}

async function asAdmin(url: string, statement: string): Promise<void> {
  await using connection = openConnection(url, {});
  await connection.run(statement);
}
