import { foreignKey, index, integer, json, pgTable, primaryKey, text } from "#src/db/drizzle.cjs";
import { bytea, instant, key } from "#src/db/columns.ts";
import { orgs } from "#src/directory/schema.ts";
import type { ChannelConfig } from "./channel.ts";

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
