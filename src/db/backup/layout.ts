import type { Connection } from "../connection.ts";

/** A table whose rows are backed up; those of its partitions are its own. */
export interface Table {
  readonly name: string;
  readonly columns: readonly string[];
}

/** A part of a table, as the day of some events. */
export interface Partition {
  readonly parent: string;
  readonly name: string;
  /** As Postgres writes it: `FOR VALUES FROM ('2026-11-30') TO ('2026-12-01')`. */
  readonly bounds: string;
}

/** A counter, and the last number it gave; none if it gave none yet. */
export interface Sequence {
  readonly name: string;
  readonly value: string | null;
}

/**
 * The tables, each behind those that it refers to. Of the migrations each database keeps its own record, and unlogged
 * tables hold only what is on its way.
 */
export async function readTables(connection: Connection): Promise<Table[]> {
  const rows = await connection.run(
    `select c.relname::text as name,
       array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum > 0
         and not a.attisdropped and a.attgenerated = '' order by a.attnum) as columns,
       array(select distinct r.relname::text from pg_constraint k join pg_class r on r.oid = k.confrelid
         where k.conrelid = c.oid and k.confrelid <> c.oid and k.contype = 'f' and k.conparentid = 0) as needs
     from pg_class c
     where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
       and c.relpersistence = 'p' and c.relname <> 'schema_migrations'
     order by c.relname`,
  );
  return inOrder(rows as unknown as (Table & { needs: string[] })[]);
}

function inOrder(tables: readonly (Table & { needs: readonly string[] })[]): Table[] {
  const ordered = new Map<string, Table>();
  while (ordered.size < tables.length) {
    const before = ordered.size;
    for (const { name, columns, needs } of tables) {
      if (needs.every((needed) => ordered.has(needed))) ordered.set(name, { name, columns });
    }
    if (ordered.size === before)
      throw new Error("some tables refer to each other, so that none can be restored first");
  }
  return [...ordered.values()];
}

export async function readPartitions(connection: Connection): Promise<Partition[]> {
  const rows = await connection.run(
    `select p.relname::text as parent, c.relname::text as name, pg_get_expr(c.relpartbound, c.oid) as bounds
     from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class p on p.oid = i.inhparent
     where p.relnamespace = 'public'::regnamespace and p.relkind = 'p' order by p.relname, c.relname`,
  );
  return [...rows] as unknown as Partition[];
}

/** Counters do not belong to a transaction: read last, they are beyond all that the rows hold. */
export async function readSequences(connection: Connection): Promise<Sequence[]> {
  const rows = await connection.run(
    "select sequencename::text as name, last_value::text as value from pg_sequences where schemaname = 'public' order by 1",
  );
  return [...rows] as unknown as Sequence[];
}

/** Each table and column by its name, whatever that is. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** How values are written and read: the same on every server, and nothing is left out silently. */
export const exactly = {
  DateStyle: "ISO",
  TimeZone: "UTC",
  IntervalStyle: "postgres",
  extra_float_digits: 1,
  bytea_output: "hex",
  row_security: "off",
  // Rows in the order in which they were stored.
  synchronize_seqscans: "off",
  statement_timeout: 0,
  idle_in_transaction_session_timeout: 0,
};
