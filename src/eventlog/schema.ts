import {
  bigint,
  date,
  integer,
  json,
  pgTable,
  primaryKey,
  sql,
  text,
  timestamp,
  uniqueIndex,
} from "#src/db/drizzle.cjs";
import { bytea, instant, key } from "#src/db/columns.ts";

/**
 * Where each log ends, and what holds for all of its events. Its row lock is what puts concurrent appends in an order:
 * a number is taken under it, last in the transaction, so numbers have no gaps and are in the order of commits.
 */
export const logHeads = pgTable(
  "log_heads",
  {
    orgId: key("org_id").notNull(),
    /** The id of a channel, or `service` for what this service says of itself. */
    log: key("log").notNull(),
    seq: bigint({ mode: "number" }).notNull(),
    /** What lies before this number is over, whatever a longer retention would say of it later. */
    keptFrom: bigint("kept_from", { mode: "number" }).notNull().default(1),
    /** The key that its events' data is sealed with, sealed itself; null for a log whose data is not sealed. */
    sealedKey: bytea("sealed_key"),
    kekVersion: integer("kek_version"),
    /** How long events are kept. */
    retentionSeconds: integer("retention_seconds").notNull(),
    /** How long the same event is known again. */
    dedupSeconds: integer("dedup_seconds").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.log] }),
    // A channel is found before its organisation is known, and is of one only.
    uniqueIndex("log_heads_channel")
      .on(table.log)
      .where(sql`${table.log} like 'chn\\_%'`),
  ],
);

/** What of a log ends on the same day: what there is to read, and how much it takes. */
export const logDays = pgTable(
  "log_days",
  {
    orgId: key("org_id").notNull(),
    log: key("log").notNull(),
    endsOn: date("ends_on").notNull(),
    firstSeq: bigint("first_seq", { mode: "number" }).notNull(),
    lastSeq: bigint("last_seq", { mode: "number" }).notNull(),
    bytes: bigint({ mode: "number" }).notNull(),
  },
  (table) => [primaryKey({ columns: [table.orgId, table.log, table.endsOn] })],
);

/**
 * What logs hold. Partitioned by the day on which an event is no longer kept, whatever its log's retention, so that
 * what has ended is dropped and never deleted row by row.
 */
export const events = pgTable(
  "events",
  {
    orgId: key("org_id").notNull(),
    log: key("log").notNull(),
    seq: bigint({ mode: "number" }).notNull(),
    endsOn: date("ends_on").notNull(),
    receivedAt: instant("received_at").notNull(),
    /** The attributes of CloudEvents 1.0, as they came. */
    id: text().notNull(),
    source: text().notNull(),
    type: text().notNull(),
    subject: text(),
    /** To the microsecond, and in its own offset: as text. */
    time: text(),
    contentType: text("content_type"),
    extensions: json().$type<Readonly<Record<string, string>>>().notNull(),
    /** The scheme by which the sender was known, or `none`. */
    verified: text().notNull(),
    /** Where a secret that came in the data was masked. */
    masked: text(),
    /** Sealed, unless the log has no key; null for an event without data. */
    data: bytea(),
    dataBytes: integer("data_bytes").notNull(),
  },
  (table) => [primaryKey({ columns: [table.orgId, table.log, table.seq, table.endsOn] })],
);

/**
 * By what an event is known again. Partitioned by the day on which it is forgotten. No unique index can span partitions:
 * under the lock of the log's head, a look-up is enough.
 */
export const receipts = pgTable(
  "receipts",
  {
    orgId: key("org_id").notNull(),
    log: key("log").notNull(),
    /** The first 16 bytes of the SHA-256 of what identifies it. */
    key: bytea().notNull(),
    seq: bigint({ mode: "number" }).notNull(),
    endsAt: timestamp("ends_at", { withTimezone: true, precision: 3 }).notNull(),
  },
  (table) => [primaryKey({ columns: [table.orgId, table.log, table.key, table.endsAt] })],
);
