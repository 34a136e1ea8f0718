import {
  bigint,
  boolean,
  foreignKey,
  index,
  integer,
  pgTable,
  primaryKey,
  text,
  uniqueIndex,
} from "#src/db/drizzle.cjs";
import { bytea, instant, key } from "#src/db/columns.ts";
import { orgs } from "#src/directory/schema.ts";

/** The connections of all organisations, without their secrets. */
export const connections = pgTable(
  "connections",
  {
    orgId: key("org_id").notNull(),
    id: key("id").notNull(),
    environment: text("environment", { enum: ["sandbox", "live"] }).notNull(),
    slug: key("slug").notNull(),
    baseUrl: text("base_url").notNull(),
    active: boolean("active").notNull(),
    createdAt: instant("created_at").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.id] }),
    foreignKey({ columns: [table.orgId], foreignColumns: [orgs.id] }),
    uniqueIndex("connections_slug").on(table.orgId, table.environment, table.slug),
  ],
);

/** The sealed secret of each connection, and the base URL that it was stored for: it is sent there and below. */
export const credentials = pgTable(
  "credentials",
  {
    orgId: key("org_id").notNull(),
    connectionId: key("connection_id").notNull(),
    boundTo: text("bound_to").notNull(),
    version: integer("version").notNull(),
    kekVersion: integer("kek_version").notNull(),
    sealed: bytea("sealed").notNull(),
    fingerprint: text("fingerprint").notNull(),
    /** The API key whose secret this credential is, if Patchbay issued it for the connection. */
    principalKeyId: key("principal_key_id"),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.connectionId] }),
    foreignKey({
      columns: [table.orgId, table.connectionId],
      foreignColumns: [connections.orgId, connections.id],
    }).onDelete("cascade"),
  ],
);

/** How much and when a connection was last used. Apart from the connections, which change rarely. */
export const connectionUsage = pgTable(
  "connection_usage",
  {
    orgId: key("org_id").notNull(),
    connectionId: key("connection_id").notNull(),
    calls: bigint("calls", { mode: "number" }).notNull(),
    lastUsedAt: instant("last_used_at").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.connectionId] }),
    foreignKey({
      columns: [table.orgId, table.connectionId],
      foreignColumns: [connections.orgId, connections.id],
    }).onDelete("cascade"),
  ],
);

/** What is known of each connection's health, and when it is probed next. */
export const connectionHealth = pgTable(
  "connection_health",
  {
    orgId: key("org_id").notNull(),
    connectionId: key("connection_id").notNull(),
    nextDueAt: instant("next_due_at").notNull(),
    lastCheckedAt: instant("last_checked_at"),
    lastHealthyAt: instant("last_healthy_at"),
    lastError: text("last_error"),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.connectionId] }),
    foreignKey({
      columns: [table.orgId, table.connectionId],
      foreignColumns: [connections.orgId, connections.id],
    }).onDelete("cascade"),
    index("connection_health_due").on(table.nextDueAt),
  ],
);
