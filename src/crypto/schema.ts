import { check, foreignKey, integer, pgTable, primaryKey, sql, text } from "#src/db/drizzle.cjs";
import { bytea, instant, key } from "#src/db/columns.ts";
import { orgs } from "#src/directory/schema.ts";

/** The keys of organisations, wrapped by the root key. A destroyed key has lost its bytes for good. */
export const orgKeys = pgTable(
  "org_keys",
  {
    orgId: key("org_id").notNull(),
    purpose: text("purpose", { enum: ["kek"] }).notNull(),
    version: integer("version").notNull(),
    wrappedKey: bytea("wrapped_key"),
    rootKeyId: key("root_key_id").notNull(),
    createdAt: instant("created_at").notNull(),
    /** Of the bytes that these took the place of, when they were wrapped by another root key. */
    earlierHash: bytea("earlier_hash"),
    earlierRootKeyId: key("earlier_root_key_id"),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.purpose, table.version] }),
    foreignKey({ columns: [table.orgId], foreignColumns: [orgs.id] }),
    check("org_keys_version", sql`${table.version} > 0`),
  ],
);

/** Keys of the deployment itself, wrapped by the root key: they belong to no organisation. */
export const serviceKeys = pgTable(
  "service_keys",
  {
    purpose: text("purpose", { enum: ["pepper", "audit"] }).notNull(),
    version: integer("version").notNull(),
    wrappedKey: bytea("wrapped_key").notNull(),
    rootKeyId: key("root_key_id").notNull(),
    createdAt: instant("created_at").notNull(),
  },
  (table) => [primaryKey({ columns: [table.purpose, table.version] })],
);
