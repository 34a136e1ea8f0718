import { check, pgTable, primaryKey, sql, text, uniqueIndex } from "#src/db/drizzle.cjs";
import { instant, key } from "#src/db/columns.ts";

/** The organisations: every other table's rows belong to one of them. */
export const orgs = pgTable("orgs", {
  id: key().primaryKey(),
  name: text().notNull(),
  createdAt: instant("created_at").notNull().defaultNow(),
  /** When its keys were destroyed: from then on, nothing that was sealed for it opens. */
  shreddedAt: instant("shredded_at"),
  /** When nothing was left of it that is deleted with its keys. */
  erasedAt: instant("erased_at"),
});

/** The people who answer for keys. They do not log in here yet. */
export const users = pgTable(
  "users",
  {
    orgId: key("org_id")
      .notNull()
      .references(() => orgs.id),
    id: key().notNull(),
    /** The person's id in the organisation's own directory. */
    externalId: key("external_id"),
    email: text().notNull(),
    role: text().notNull().default("member"),
    status: text({ enum: ["active", "deactivated"] })
      .notNull()
      .default("active"),
    createdAt: instant("created_at").notNull().defaultNow(),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.id] }),
    uniqueIndex("users_org_id_email_key").on(table.orgId, sql`lower(${table.email})`),
    uniqueIndex("users_org_id_external_id_key").on(table.orgId, table.externalId),
    check("users_status_check", sql`${table.status} in ('active', 'deactivated')`),
  ],
);
