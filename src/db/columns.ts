import { customType, sql, timestamp } from "./drizzle.cjs";

/**
 * An id, a slug or another name for programs: text that compares by its bytes. Under the database's own
 * collation a glibc or ICU update would silently reorder the index that finds it.
 */
export const key = customType<{ data: string }>({ dataType: () => 'text collate "C"' });

/** An instant, to the millisecond like a Date: what is read back is exactly what was written. */
export function instant(name: string) {
  return timestamp(name, { withTimezone: true, precision: 3 });
}

/** Bytes as they are. */
export const bytea = customType<{ data: Buffer }>({ dataType: () => "bytea" });

/** JSON whose very bytes are kept, for what is hashed or signed; `jsonb` would reorder keys and drop spaces. */
export const jsonText = customType<{ data: string }>({ dataType: () => "json" });

/** Texts as one parameter of a statement. Without this, drizzle makes as many parameters as there are texts. */
export function textArray(texts: readonly string[]) {
  return sql`${sql.param(texts)}::text[]`;
}
