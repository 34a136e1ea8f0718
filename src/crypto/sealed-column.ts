import {
  and,
  asc,
  type Column,
  eq,
  getTableName,
  gt,
  lt,
  type PgTable,
  type SQL,
  sql,
} from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
import type { SealOwner } from "./keyring.ts";

/** A column of sealed bytes: where they are, and the record that each belongs to. Every one there is must be declared. */
export interface SealedColumn {
  readonly table: PgTable;
  readonly orgId: Column;
  readonly sealed: Column;
  /** The version of the organisation's key that they were sealed with. Its name ends in `kek_version`. */
  readonly kekVersion: Column;
  /** A text that names the owner within the organisation. */
  readonly id: Column | SQL;
  /** Undefined for an owner that has one version only. */
  readonly version?: Column;
  owner(orgId: string, id: string, version: number): SealOwner;
}

/** Sealed bytes of one row, as they are stored. */
export interface SealedRow {
  /** Where the row is, as long as it is locked. */
  readonly place: string;
  readonly owner: SealOwner;
  readonly kekVersion: number;
  readonly bytes: Buffer;
}

/** Which rows are asked for: of the organisation, sealed with an earlier version, in the order of their places. */
export interface WantedRows {
  readonly orgId: string;
  readonly beforeVersion: number;
  readonly after: string;
  readonly limit: number;
  /** Whether to wait for rows that others hold, instead of leaving them out. */
  readonly waits: boolean;
}

/** Before every row of a table. */
export const firstPlace = "(0,0)";

/** The rows that are sealed with an earlier version than the wanted one, locked. */
export async function lockSealedRows(tx: Tx, column: SealedColumn, wanted: WantedRows): Promise<SealedRow[]> {
  const { table, sealed, kekVersion, id, version = sql`1` } = column;
  const place = sql`${table}.ctid`;
  const rows = await tx.execute<{
    place: string;
    id: string;
    version: number;
    kek_version: number;
    sealed: Buffer;
  }>(sql`
    select ${place}::text as place, (${id})::text as id, ${version} as version, ${kekVersion} as kek_version,
      ${sealed} as sealed
    from ${table}
    where ${and(
      eq(column.orgId, wanted.orgId),
      lt(kekVersion, wanted.beforeVersion),
      gt(place, sql`${wanted.after}::tid`),
    )}
    order by ${asc(place)} limit ${wanted.limit}
    for update ${wanted.waits ? sql`` : sql`skip locked`}`);
  return rows.map((row) => ({
    place: row.place,
    owner: column.owner(wanted.orgId, row.id, row.version),
    kekVersion: row.kek_version,
    bytes: row.sealed,
  }));
}

/** Stores what was sealed anew in place of what the locked rows had. */
export async function putSealedRows(
  tx: Tx,
  column: SealedColumn,
  kekVersion: number,
  rows: readonly Pick<SealedRow, "place" | "bytes">[],
): Promise<void> {
  const nameOf = (one: Column) => sql.identifier(one.name);
  const changed = await tx.execute(sql`
    update ${column.table} as stored set ${nameOf(column.sealed)} = anew.bytes,
      ${nameOf(column.kekVersion)} = ${kekVersion}::integer
    from unnest(${sql.param(rows.map(({ place }) => place))}::tid[], ${sql.param(rows.map(({ bytes }) => bytes))}::bytea[])
      as anew (place, bytes)
    where stored.ctid = anew.place
    returning 1`);
  if (changed.length !== rows.length) {
    throw new Error(
      `${changed.length} of ${rows.length} locked rows of ${tableName(column)} were found again`,
    );
  }
}

/** For people. */
export function tableName({ table }: SealedColumn): string {
  return getTableName(table);
}
