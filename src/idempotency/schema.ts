import { index, pgTable, primaryKey } from "#src/db/drizzle.cjs";
import { bytea, instant, key } from "#src/db/columns.ts";

/** What requests with an Idempotency-Key did, for 24 hours. Their answers are not kept: they held secrets. */
export const idempotentRequests = pgTable(
  "idempotent_requests",
  {
    orgId: key("org_id").notNull(),
    /** The caller's id, such as `api_key/key_…`: two callers may choose the same name for their requests. */
    callerId: key("caller_id").notNull(),
    /** As a keyed hash in hex: a client that imports a key may use that key as the name. */
    idempotencyKey: key("idempotency_key").notNull(),
    /** The keyed hash of method and request, which may hold a secret. */
    requestHash: bytea("request_hash").notNull(),
    /** The id of what the request was about. */
    target: key("target").notNull(),
    at: instant("at").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.callerId, table.idempotencyKey] }),
    index("idempotent_requests_at").on(table.orgId, table.at),
  ],
);
