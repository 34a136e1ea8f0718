import type { KeyObject } from "node:crypto";
import type { Database, Tx } from "#src/db/database.ts";
import { ownerContext } from "./keyring.ts";
import { holdCurrentVersion } from "./org-keys.ts";
import { open, seal, SealBroken } from "./seal.ts";
import {
  firstPlace,
  lockSealedRows,
  putSealedRows,
  tableName,
  type SealedColumn,
  type SealedRow,
} from "./sealed-column.ts";

/** What sealing anew came to. */
export interface Resealed {
  readonly resealed: number;
  /** Records whose sealed bytes do not open, and stay as they are: `<table> <owner>`. */
  readonly unopened: readonly string[];
}

/** About a millisecond's work, and a transaction that others hardly wait for. */
const batchRows = 50;

interface Batch extends Resealed {
  /** Undefined if there are no more. */
  readonly next: string | undefined;
}

/** Seals all of an organisation anew, whatever the version that it was sealed with, with the key of this version. */
export function createReseal(parts: { database: Database; sealedColumns: readonly SealedColumn[] }) {
  const { database, sealedColumns } = parts;

  return async (orgId: string, version: number, keys: ReadonlyMap<number, KeyObject>): Promise<Resealed> => {
    const batch = (column: SealedColumn, after: string, waits: boolean) =>
      database.record(orgId, async (tx): Promise<Batch> => {
        const limit = waits ? 1 : batchRows;
        const rows = await lockSealedRows(tx, column, { orgId, beforeVersion: version, after, limit, waits });
        const done = await resealRows(tx, column, rows, version, keys);
        return { ...done, next: rows.length < limit ? undefined : rows.at(-1)?.place };
      });

    async function walk(column: SealedColumn, waits: boolean): Promise<Resealed> {
      let resealed = 0;
      const unopened: string[] = [];
      let after: string | undefined = firstPlace;
      while (after !== undefined) {
        const done: Batch = await batch(column, after, waits);
        resealed += done.resealed;
        unopened.push(...done.unopened);
        after = done.next;
      }
      return { resealed, unopened };
    }

    let resealed = 0;
    const unopened: string[] = [];
    for (const column of sealedColumns) {
      resealed += (await walk(column, false)).resealed;
      // What others held meanwhile, one by one: whoever waits for a row while it holds others could lock them out.
      const rest = await walk(column, true);
      resealed += rest.resealed;
      unopened.push(...rest.unopened);
    }
    return { resealed, unopened };
  };
}

async function resealRows(
  tx: Tx,
  column: SealedColumn,
  rows: readonly SealedRow[],
  version: number,
  keys: ReadonlyMap<number, KeyObject>,
): Promise<Resealed> {
  if (rows.length === 0) return { resealed: 0, unopened: [] };
  if ((await holdCurrentVersion(tx)) !== version)
    throw new Error("the key was replaced or destroyed meanwhile");
  const unopened: string[] = [];
  const anew = rows.flatMap((row) => {
    const bytes = resealed(row, version, keys);
    if (bytes === undefined) unopened.push(`${tableName(column)} ${row.owner.id}`);
    return bytes === undefined ? [] : [{ place: row.place, bytes }];
  });
  if (anew.length > 0) await putSealedRows(tx, column, version, anew);
  return { resealed: anew.length, unopened };
}

/** Undefined for bytes that do not open. */
function resealed(
  { owner, kekVersion, bytes }: SealedRow,
  version: number,
  keys: ReadonlyMap<number, KeyObject>,
): Buffer | undefined {
  const from = keys.get(kekVersion);
  const to = keys.get(version);
  if (from === undefined || to === undefined) return undefined;
  try {
    const plain = open(from, bytes, ownerContext(owner, kekVersion));
    const anew = seal(to, plain, ownerContext(owner, version));
    plain.fill(0);
    return anew;
  } catch (error) {
    if (error instanceof SealBroken) return undefined;
    throw error;
  }
}
