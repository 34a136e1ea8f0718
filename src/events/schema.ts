import {
  bigint,
  foreignKey,
  index,
  integer,
  json,
  pgTable,
  primaryKey,
  sql,
  text,
  type AnyPgColumn,
} from "#src/db/drizzle.cjs";
import { instant, key } from "#src/db/columns.ts";
import { orgs } from "#src/directory/schema.ts";
import type { OutEvent } from "./groups/delivery.ts";

/** Consumers that share a log. The lock of its row is what puts concurrent pulls and acknowledgements in an order. */
export const eventGroups = pgTable(
  "event_groups",
  {
    orgId: key("org_id").notNull(),
    id: key().notNull(),
    environment: text({ enum: ["sandbox", "live"] }).notNull(),
    name: text().notNull(),
    log: key().notNull(),
    types: text().array().notNull(),
    ordering: text({ enum: ["none", "subject", "log"] }).notNull(),
    ackSeconds: integer("ack_seconds").notNull(),
    maxDeliveries: integer("max_deliveries").notNull(),
    /** Up to here, each event was delivered, left out or put into the backlog. */
    seq: bigint({ mode: "number" }).notNull(),
    createdAt: instant("created_at").notNull(),
    createdBy: key("created_by").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.id] }),
    foreignKey({ columns: [table.orgId], foreignColumns: [orgs.id] }),
  ],
);

function ofGroup(name: string, table: { orgId: AnyPgColumn; groupId: AnyPgColumn }) {
  return foreignKey({
    // The usual name would be too long for Postgres.
    name,
    columns: [table.orgId, table.groupId],
    foreignColumns: [eventGroups.orgId, eventGroups.id],
  }).onDelete("cascade");
}

/** What consumers have in their hands: one row for each answer to a pull, until all in it is settled. */
export const eventGroupDeliveries = pgTable(
  "event_group_deliveries",
  {
    orgId: key("org_id").notNull(),
    groupId: key("group_id").notNull(),
    id: key().notNull(),
    events: json().$type<readonly OutEvent[]>().notNull(),
    /** How many they are. */
    size: integer().notNull(),
    /** What their order holds up. */
    keys: text().array().notNull(),
    /** When the first of them is given back. */
    until: instant("until").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.groupId, table.id] }),
    ofGroup("event_group_deliveries_group", table),
    index("event_group_deliveries_until").on(table.orgId, table.groupId, table.until),
  ],
);

/** Events behind the group's position that are in no hand: those that wait, and those that are dead. */
export const eventGroupBacklog = pgTable(
  "event_group_backlog",
  {
    orgId: key("org_id").notNull(),
    groupId: key("group_id").notNull(),
    seq: bigint({ mode: "number" }).notNull(),
    /** What it holds up while it waits; null for nothing. */
    key: text(),
    deliveries: integer().notNull(),
    availableAt: instant("available_at").notNull(),
    deadAt: instant("dead_at"),
    deadReason: text("dead_reason", { enum: ["deliveries", "expired"] }),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.groupId, table.seq] }),
    ofGroup("event_group_backlog_group", table),
    index("event_group_backlog_waiting")
      .on(table.orgId, table.groupId, table.seq)
      .where(sql`${table.deadAt} is null`),
  ],
);
