import { randomBytes } from "node:crypto";
import { inject } from "vitest";
import { withDatabase } from "#src/db/address.ts";
import { openConnection, type Connection, type Rows } from "#src/db/connection.ts";

/** A database of one test file, with the newest schema and nothing in it. */
export interface TestDatabase extends AsyncDisposable {
  /** Logs in as the owner of the tables, as the service does before it takes its role. */
  readonly url: string;
  /** Runs one statement as the owner, whom neither row security nor a missing grant stops. */
  asOwner(...statement: Parameters<Connection["run"]>): Promise<Rows>;
}

/** Copies the migrated template: about 30 ms. `empty` gives a database without any schema instead. */
export async function createTestDatabase(kind: "migrated" | "empty" = "migrated"): Promise<TestDatabase> {
  const { url: adminUrl, template } = inject("postgres");
  const name = `patchbay_test_${randomBytes(6).toString("hex")}`;
  const copied = kind === "migrated" ? template : "template0";
  await once(adminUrl, (admin) => admin.run(`create database ${name} template ${copied}`));
  const url = withDatabase(adminUrl, name);
  const owner = openConnection(url, { application_name: "test owner" });
  return {
    url,
    asOwner: (...statement) => owner.run(...statement),
    async [Symbol.asyncDispose]() {
      await owner.end();
      await once(adminUrl, (admin) => admin.run(`drop database ${name} with (force)`));
    },
  };
}

async function once<T>(url: string, run: (connection: Connection) => Promise<T>): Promise<T> {
  await using connection = openConnection(url, {});
  return await run(connection);
}
