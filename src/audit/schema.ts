import { bigint, index, pgTable, primaryKey, text } from "#src/db/drizzle.cjs";
import { bytea, instant, jsonText, key } from "#src/db/columns.ts";

/** Where each organisation's chain ends. Its row lock is what puts concurrent appends in an order. */
export const auditHeads = pgTable("audit_heads", {
  // No reference to orgs: the record of an organisation outlives it.
  orgId: key("org_id").primaryKey(),
  seq: bigint({ mode: "bigint" }).notNull(),
  hash: bytea().notNull(),
});

/**
 * The record of changes. Only `audit_append` writes it, and nothing changes it afterwards.
 *
 * One table for all time: splitting it by month, so that old months can be dropped once their heads are
 * anchored elsewhere, is left until retention is built.
 */
export const auditEvents = pgTable(
  "audit_events",
  {
    orgId: key("org_id").notNull(),
    seq: bigint({ mode: "bigint" }).notNull(),
    at: instant("at").notNull(),
    action: key().notNull(),
    target: key().notNull(),
    apiKeyId: key("api_key_id"),
    userId: key("user_id"),
    requestId: text("request_id"),
    details: jsonText().notNull(),
    previousHash: bytea("previous_hash").notNull(),
    hash: bytea().notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.seq] }),
    index("audit_events_org_id_action_seq_idx").on(table.orgId, table.action, table.seq),
    index("audit_events_org_id_target_seq_idx").on(table.orgId, table.target, table.seq),
  ],
);
