import { bigint, index, isNotNull, isNull, pgTable, primaryKey, text } from "#src/db/drizzle.cjs";
import { bytea, instant, jsonText, key } from "#src/db/columns.ts";

/** Where each organisation's chain ends. Its row lock is what puts concurrent appends in an order. */
export const auditHeads = pgTable("audit_heads", {
  // No reference to orgs: the record of an organisation outlives it.
  orgId: key("org_id").primaryKey(),
  seq: bigint({ mode: "bigint" }).notNull(),
  hash: bytea().notNull(),
});

/**
 * The record of changes. Only `audit_append` writes it, nothing changes it afterwards, and only `expire_audit` removes
 * its beginning.
 *
 * One table, not one for each month: a clock that was set back puts events of one month behind those of the next, so
 * months are no parts of the chain. Besides, each reader would look into every month, as it asks by number.
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
    index("audit_events_org_id_api_key_id_seq_idx")
      .on(table.orgId, table.apiKeyId, table.seq)
      .where(isNotNull(table.apiKeyId)),
    index("audit_events_org_id_user_id_seq_idx")
      .on(table.orgId, table.userId, table.seq)
      .where(isNotNull(table.userId)),
    index("audit_events_org_id_at_seq_idx").on(table.orgId, table.at, table.seq),
  ],
);

/** Signed heads: what a record was at a time, in a form that the owner of the database cannot write. */
export const auditAnchors = pgTable(
  "audit_anchors",
  {
    orgId: key("org_id").notNull(),
    ...signed(),
    /** When it was written to where anchors are kept outside. */
    publishedAt: instant("published_at"),
    claimedUntil: instant("claimed_until"),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.seq] }),
    index("audit_anchors_unpublished_idx")
      .on(table.at, table.orgId, table.seq)
      .where(isNull(table.publishedAt)),
  ],
);

/** Where what is kept of a record begins, once older events were removed: behind this event. */
export const auditStarts = pgTable("audit_starts", { orgId: key("org_id").primaryKey(), ...signed() });

function signed() {
  return {
    seq: bigint({ mode: "bigint" }).notNull(),
    hash: bytea().notNull(),
    at: instant("at").notNull(),
    keyId: key("key_id").notNull(),
    signature: bytea().notNull(),
  };
}
