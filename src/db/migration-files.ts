import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** One file that drizzle-kit wrote. */
export interface Migration {
  readonly index: number;
  readonly name: string;
  /** SHA-256 of the file, in hex. */
  readonly hash: string;
  readonly statements: readonly string[];
  /** False for statements that Postgres runs only outside a transaction, such as CREATE INDEX CONCURRENTLY. */
  readonly inTransaction: boolean;
}

interface Journal {
  readonly entries: readonly { readonly idx: number; readonly when: number; readonly tag: string }[];
}

/** Reads the migrations in the order in which they apply. */
export async function readMigrations(folder: string): Promise<Migration[]> {
  const journal = JSON.parse(await readFile(join(folder, "meta", "_journal.json"), "utf8")) as Journal;
  const migrations: Migration[] = [];
  let previous = -Infinity;
  for (const [position, { idx, when, tag }] of journal.entries.entries()) {
    // A merge of two branches can leave an entry that is older than one already applied elsewhere.
    if (idx !== position || when <= previous) {
      throw new Error(`migration ${tag} is out of order in the journal: delete it and generate it again`);
    }
    previous = when;
    const text = await readFile(join(folder, `${tag}.sql`), "utf8");
    migrations.push({
      index: idx,
      name: tag,
      hash: createHash("sha256").update(text).digest("hex"),
      statements: text.split("--> statement-breakpoint").filter((statement) => statement.trim() !== ""),
      inTransaction: !text.startsWith("-- no-transaction"),
    });
  }
  return migrations;
}
