import {
  foreignKey,
  index,
  integer,
  json,
  pgTable,
  primaryKey,
  sql,
  text,
  uniqueIndex,
} from "#src/db/drizzle.cjs";
import { bytea, instant, key } from "#src/db/columns.ts";
import { orgs } from "#src/directory/schema.ts";
import type { ChannelConfig } from "./channel.ts";
import type { Position } from "./sources/position.ts";

/** What receives events. Each has a log of its own, by the same id. */
export const channels = pgTable(
  "channels",
  {
    orgId: key("org_id").notNull(),
    id: key().notNull(),
    environment: text({ enum: ["sandbox", "live"] }).notNull(),
    name: text().notNull(),
    kind: text({ enum: ["webhook", "cloudevents", "sse", "poll"] }).notNull(),
    config: json().$type<ChannelConfig>().notNull(),
    /** Of an sse or poll channel: the connection that is read through. */
    connectionId: key("connection_id"),
    state: text({ enum: ["active", "paused", "blocked"] }).notNull(),
    /** Why it is blocked, in words for people. */
    stateReason: text("state_reason"),
    /** Of the secret segment of its path; null if the path has none. */
    segmentHash: bytea("segment_hash"),
    createdBy: key("created_by"),
    version: integer().notNull(),
    createdAt: instant("created_at").notNull(),
    updatedAt: instant("updated_at").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.id] }),
    foreignKey({ columns: [table.orgId], foreignColumns: [orgs.id] }),
    // A sender names the channel alone.
    index("channels_id").on(table.id),
  ],
);

/** What senders prove themselves by, sealed. */
export const channelSecrets = pgTable(
  "channel_secrets",
  {
    orgId: key("org_id").notNull(),
    channelId: key("channel_id").notNull(),
    version: integer().notNull(),
    kekVersion: integer("kek_version").notNull(),
    sealed: bytea().notNull(),
    /** Null for the newest. */
    validUntil: instant("valid_until"),
    createdAt: instant("created_at").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.channelId, table.version] }),
    foreignKey({
      columns: [table.orgId, table.channelId],
      foreignColumns: [channels.orgId, channels.id],
    }).onDelete("cascade"),
  ],
);

/** How far a channel has read its source, and which replica reads it now. */
export const channelSources = pgTable(
  "channel_sources",
  {
    orgId: key("org_id").notNull(),
    channelId: key("channel_id").notNull(),
    /** Changes only together with the events that it covers. */
    position: json().$type<Position>().notNull(),
    /** When it is read next, if nobody does now. */
    dueAt: instant("due_at").notNull(),
    /** By whom it is read: a new text for each time that it is claimed. */
    lease: text(),
    leaseUntil: instant("lease_until"),
    /** How many times in a row it could not be read. */
    failures: integer().notNull(),
    lastReadAt: instant("last_read_at"),
    lastError: text("last_error"),
    lastErrorAt: instant("last_error_at"),
    /** What it waits for, in words for people, if that is no failure. */
    waitsFor: text("waits_for"),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.channelId] }),
    foreignKey({
      columns: [table.orgId, table.channelId],
      foreignColumns: [channels.orgId, channels.id],
    }).onDelete("cascade"),
    // Those of all organisations, by the one loop.
    index("channel_sources_due").on(table.dueAt),
    uniqueIndex("channel_sources_lease")
      .on(table.lease)
      .where(sql`${table.lease} is not null`),
  ],
);
