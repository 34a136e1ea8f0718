import { check, foreignKey, index, integer, json, pgTable, primaryKey, sql, text } from "#src/db/drizzle.cjs";
import { bytea, instant, key } from "#src/db/columns.ts";
import { orgs, users } from "#src/directory/schema.ts";
import type { ConnectionRight } from "#src/platform/connection-right.ts";

/** The keys of all organisations. A key keeps its id over rotations; its secrets come and go. */
export const apiKeys = pgTable(
  "api_keys",
  {
    orgId: key("org_id").notNull(),
    id: key("id").notNull(),
    name: text("name").notNull(),
    environment: text("environment", { enum: ["sandbox", "live"] }).notNull(),
    scopes: text("scopes").array().notNull(),
    actAsUserId: key("act_as_user_id"),
    createdAt: instant("created_at").notNull(),
    expiresAt: instant("expires_at"),
    revokedAt: instant("revoked_at"),
    /** Null for the deployment's limit. */
    rateLimitPerMinute: integer("rate_limit_per_minute"),
    kind: text("kind", { enum: ["issued", "imported", "service_principal"] })
      .notNull()
      .default("issued"),
    callerServiceSlug: key("caller_service_slug"),
    allowedCidrs: text("allowed_cidrs").array().notNull().default([]),
    metadata: json("metadata").$type<Readonly<Record<string, string>>>().notNull().default({}),
    /** The connections that the key may use, and how; null for all. */
    connections: json("connections").$type<readonly ConnectionRight[]>(),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.id] }),
    foreignKey({ columns: [table.orgId], foreignColumns: [orgs.id] }),
    foreignKey({ columns: [table.orgId, table.actAsUserId], foreignColumns: [users.orgId, users.id] }),
    index("api_keys_expiry")
      .on(table.expiresAt)
      .where(sql`${table.expiresAt} is not null and ${table.revokedAt} is null`),
    check("api_keys_scopes", sql`cardinality(${table.scopes}) between 1 and 200`),
    check("api_keys_kind", sql`${table.kind} in ('issued', 'imported', 'service_principal')`),
    check(
      "api_keys_caller",
      sql`(${table.kind} = 'service_principal') = (${table.callerServiceSlug} is not null)`,
    ),
  ],
);

/** What the log `service` said last of keys that end: of which end, and how many days before. 0 if it was over. */
export const apiKeyEnds = pgTable(
  "api_key_ends",
  {
    orgId: key("org_id").notNull(),
    keyId: key("key_id").notNull(),
    expiresAt: instant("expires_at").notNull(),
    daysLeft: integer("days_left").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.keyId] }),
    foreignKey({ columns: [table.orgId, table.keyId], foreignColumns: [apiKeys.orgId, apiKeys.id] }),
  ],
);

/** The secrets of keys, as hashes. */
export const apiKeySecrets = pgTable(
  "api_key_secrets",
  {
    // Unique over all organisations: the organisation is found by the presented secret.
    secretHash: bytea("secret_hash").primaryKey(),
    /** Only a key that was imported by its hash has no pepper. */
    hashKind: text("hash_kind", { enum: ["peppered", "sha256"] })
      .notNull()
      .default("peppered"),
    orgId: key("org_id").notNull(),
    keyId: key("key_id").notNull(),
    hint: text("hint").notNull(),
    createdAt: instant("created_at").notNull(),
    /** Null for the secret that the last rotation made: it is good as long as the key. */
    validUntil: instant("valid_until"),
    lastUsedAt: instant("last_used_at"),
  },
  (table) => [
    foreignKey({ columns: [table.orgId, table.keyId], foreignColumns: [apiKeys.orgId, apiKeys.id] }),
    index("api_key_secrets_key").on(table.orgId, table.keyId),
    check("api_key_secrets_hash", sql`octet_length(${table.secretHash}) = 32`),
    check("api_key_secrets_kind", sql`${table.hashKind} in ('peppered', 'sha256')`),
  ],
);
