import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { foundOrganization } from "#src/cli/found-organization.ts";
import { localRootKey, newRootKeyText } from "#src/crypto/root-key.ts";
import { withDatabase } from "#src/db/address.ts";
import { openConnection } from "#src/db/connection.ts";
import { createDatabase } from "#src/db/database.ts";
import { startEmbeddedPostgres } from "#src/db/embedded/supervisor.ts";
import { migrate } from "#src/db/migrate.ts";
import { startServer, type Server } from "./server.ts";

const log = pino({ level: "silent" });

/** A Postgres for the time of a bench. */
export interface BenchPostgres extends AsyncDisposable {
  /** An empty database of its own; answers its URL. */
  newDatabase(name: string): Promise<string>;
  /** A migrated database of its own, with one organisation and its admin key. */
  found(name: string): Promise<Founded>;
}

/** An organisation that Patchbays can be started for. */
export interface Founded {
  readonly databaseUrl: string;
  /** Its admin key. */
  readonly apiKey: string;
  start(environment?: Readonly<Record<string, string>>): Promise<Server>;
}

export async function startBenchPostgres(): Promise<BenchPostgres> {
  const dataDir = await mkdtemp(join(tmpdir(), "patchbay-bench-"));
  const postgres = await startEmbeddedPostgres({ dataDir, log });

  async function newDatabase(name: string): Promise<string> {
    await using admin = openConnection(postgres.url, {});
    await admin.run(`create database ${name}`);
    return withDatabase(postgres.url, name);
  }

  return {
    newDatabase,
    async found(name) {
      const url = await newDatabase(name);
      await migrate({ url, log });
      const rootKeyText = newRootKeyText();
      const database = createDatabase({ url, log });
      const rootKey = localRootKey(rootKeyText);
      const { secret } = await foundOrganization({ database, rootKey }, "sandbox", "bench");
      await database.close();
      return {
        databaseUrl: url,
        apiKey: secret,
        start: (environment) => startServer("patchbay", [url, rootKeyText], environment),
      };
    },
    async [Symbol.asyncDispose]() {
      await postgres.stop();
      await rm(dataDir, { recursive: true });
    },
  };
}

/** The slug of the connection to the upstream. */
export const upstreamSlug = "custom:upstream";

/** Registers the upstream as a connection. */
export async function connectUpstream(
  patchbay: Server,
  apiKey: string,
  upstream: Server,
  serviceSlug = upstreamSlug,
): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${patchbay.port}/api/service-connections`, {
    method: "POST",
    headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json" },
    body: JSON.stringify({
      serviceSlug,
      baseUrl: `http://127.0.0.1:${upstream.port}`,
      apiKey: `a-credential-of-the-usual-length-${"0123456789".repeat(2)}`,
    }),
  });
  if (!response.ok) throw new Error(`the upstream cannot be connected: ${await response.text()}`);
}
