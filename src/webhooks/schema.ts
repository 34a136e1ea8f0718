import {
  bigint,
  boolean,
  date,
  foreignKey,
  index,
  integer,
  pgTable,
  primaryKey,
  sql,
  text,
} from "#src/db/drizzle.cjs";
import { bytea, instant, jsonText, key } from "#src/db/columns.ts";
import { orgs } from "#src/directory/schema.ts";

/** Where events are sent to, and how that goes. */
export const webhookEndpoints = pgTable(
  "webhook_endpoints",
  {
    orgId: key("org_id").notNull(),
    id: key().notNull(),
    environment: text({ enum: ["sandbox", "live"] }).notNull(),
    url: text().notNull(),
    description: text().notNull(),
    /** Patterns of types, as `selectedType` reads them. */
    types: text().array().notNull(),
    /** Those of them that wait, because whoever registered the endpoint may no longer read them. */
    pausedTypes: text("paused_types").array().notNull(),
    /** What an event that fails holds up: nothing, those of its subject, or all behind it. */
    ordering: text({ enum: ["none", "subject", "log"] }).notNull(),
    /** What comes after the last try of an event, where all behind it wait. */
    afterSchedule: text("after_schedule", { enum: ["skip", "pause"] }).notNull(),
    body: text({ enum: ["webhook", "binary"] }).notNull(),
    contentType: text("content_type").notNull(),
    maxInFlight: integer("max_in_flight").notNull(),
    /** Null for as fast as it answers. */
    perSecond: integer("per_second"),
    /** Whether successes are kept among its attempts, too. */
    keepSuccesses: boolean("keep_successes").notNull(),
    headerNames: text("header_names").array().notNull(),
    /** The values of its own headers, sealed as one JSON object; null without any. */
    sealedHeaders: bytea("sealed_headers"),
    headersKekVersion: integer("headers_kek_version"),
    headersVersion: integer("headers_version").notNull(),
    state: text({ enum: ["active", "failing", "paused"] }).notNull(),
    stateReason: text("state_reason"),
    /** Whose right to read its types counts. */
    ownerKeyId: key("owner_key_id").notNull(),
    ownerUserId: key("owner_user_id"),
    /** Of these, as they were looked at last; null before that. */
    ownerRights: text("owner_rights"),
    version: integer().notNull(),
    createdAt: instant("created_at").notNull(),
    updatedAt: instant("updated_at").notNull(),
    /** When there is something to do for it; null if there is nothing. */
    dueAt: instant("due_at"),
    /** Until then it gets nothing, also if something comes: it asked for that, or fails. */
    notBefore: instant("not_before"),
    leaseOwner: key("lease_owner"),
    leaseUntil: instant("lease_until"),
    /** In a row, without a success. */
    failures: integer().notNull(),
    failingSince: instant("failing_since"),
    lastSuccessAt: instant("last_success_at"),
    lastFailureAt: instant("last_failure_at"),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.id] }),
    foreignKey({ columns: [table.orgId], foreignColumns: [orgs.id] }),
    index("webhook_endpoints_due")
      .on(table.dueAt)
      .where(sql`${table.dueAt} is not null`),
  ],
);

/** What deliveries are signed with, sealed. At most two live. */
export const webhookSecrets = pgTable(
  "webhook_secrets",
  {
    orgId: key("org_id").notNull(),
    endpointId: key("endpoint_id").notNull(),
    version: integer().notNull(),
    kekVersion: integer("kek_version").notNull(),
    sealed: bytea().notNull(),
    /** Null for the newest. */
    validUntil: instant("valid_until"),
    createdAt: instant("created_at").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.endpointId, table.version] }),
    foreignKey({
      name: "webhook_secrets_endpoint",
      columns: [table.orgId, table.endpointId],
      foreignColumns: [webhookEndpoints.orgId, webhookEndpoints.id],
    }).onDelete("cascade"),
  ],
);

/** How far an endpoint has read a log. Nothing else says what is to be sent: there is no row for a delivery. */
export const webhookCursors = pgTable(
  "webhook_cursors",
  {
    orgId: key("org_id").notNull(),
    endpointId: key("endpoint_id").notNull(),
    log: key("log").notNull(),
    seq: bigint({ mode: "number" }).notNull(),
    /** The number of the event that the endpoint's types selected last; null where a chain begins. */
    previous: bigint({ mode: "number" }),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.endpointId, table.log] }),
    foreignKey({
      name: "webhook_cursors_endpoint",
      columns: [table.orgId, table.endpointId],
      foreignColumns: [webhookEndpoints.orgId, webhookEndpoints.id],
    }).onDelete("cascade"),
  ],
);

/** What failed, and is tried again or is given up. */
export const webhookParked = pgTable(
  "webhook_parked",
  {
    orgId: key("org_id").notNull(),
    endpointId: key("endpoint_id").notNull(),
    log: key("log").notNull(),
    seq: bigint({ mode: "number" }).notNull(),
    previous: bigint({ mode: "number" }),
    subject: text(),
    attempts: integer().notNull(),
    /** Null once it is given up. */
    nextTryAt: instant("next_try_at"),
    /** Replays and redeliveries are sent also where the event was sent before. */
    redelivery: boolean().notNull(),
    /** The id that it goes out with, if that is not `<log>.<seq>`. */
    webhookId: text("webhook_id"),
    lastStatus: integer("last_status"),
    lastStage: text("last_stage"),
    parkedAt: instant("parked_at").notNull(),
    deadAt: instant("dead_at"),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.endpointId, table.log, table.seq] }),
    foreignKey({
      name: "webhook_parked_endpoint",
      columns: [table.orgId, table.endpointId],
      foreignColumns: [webhookEndpoints.orgId, webhookEndpoints.id],
    }).onDelete("cascade"),
    index("webhook_parked_due").on(table.orgId, table.endpointId, table.nextTryAt),
    // What waits in its order: whether something comes before it is asked for each.
    index("webhook_parked_order")
      .on(table.orgId, table.endpointId, table.log, table.subject, table.seq)
      .where(sql`${table.deadAt} is null`),
  ],
);

/** What came of the tries of each turn, for 30 days. Partitioned by the day on which that ends. */
export const webhookAttempts = pgTable(
  "webhook_attempts",
  {
    orgId: key("org_id").notNull(),
    endpointId: key("endpoint_id").notNull(),
    /** Of the first of them. */
    at: instant("at").notNull(),
    endsOn: date("ends_on").notNull(),
    /** A row for each would cost more than all else that a delivery does. */
    tries: jsonText().notNull(),
  },
  (table) => [index("webhook_attempts_of").on(table.orgId, table.endpointId, table.at)],
);
