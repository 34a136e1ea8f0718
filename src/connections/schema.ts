import {
  bigint,
  boolean,
  check,
  foreignKey,
  index,
  integer,
  json,
  pgTable,
  primaryKey,
  sql,
  text,
  uniqueIndex,
  type AnyPgColumn,
} from "#src/db/drizzle.cjs";
import { bytea, instant, key } from "#src/db/columns.ts";
import { orgs, users } from "#src/directory/schema.ts";
import type { Recipe } from "#src/integrations/integration.ts";

/** What a connection can be in. */
export const connectionStatuses = [
  "ACTIVE",
  "PENDING_AUTHORIZATION",
  "NEEDS_REAUTH",
  "REFRESH_IN_DOUBT",
  "REVOKED",
] as const;

/** The connections of all organisations, without their secrets. */
export const connections = pgTable(
  "connections",
  {
    orgId: key("org_id").notNull(),
    id: key("id").notNull(),
    environment: text("environment", { enum: ["sandbox", "live"] }).notNull(),
    /** The handle by which the organisation calls it; null for one that is called by its id only. */
    slug: key("slug"),
    baseUrl: text("base_url").notNull(),
    active: boolean("active").notNull(),
    createdAt: instant("created_at").notNull(),
    integration: key("integration").notNull(),
    authMethod: key("auth_method").notNull().default("bearer"),
    /** What the integration said of its calls when the credential was stored; null for `bearerRecipe`. */
    recipe: json("recipe").$type<Recipe>(),
    /** What its templates are filled with, beside the secrets. */
    params: json("params").$type<Readonly<Record<string, string>>>().notNull().default({}),
    ownerUserId: key("owner_user_id"),
    visibility: text("visibility", { enum: ["org", "owner"] })
      .notNull()
      .default("org"),
    name: text("name"),
    tags: text("tags").array().notNull().default([]),
    metadata: json("metadata").$type<Readonly<Record<string, string>>>().notNull().default({}),
    status: text("status", { enum: connectionStatuses }).notNull().default("ACTIVE"),
    /** Why the status is what it is, for people; null for an active one. */
    statusReason: text("status_reason"),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.id] }),
    foreignKey({ columns: [table.orgId], foreignColumns: [orgs.id] }),
    foreignKey({ columns: [table.orgId, table.ownerUserId], foreignColumns: [users.orgId, users.id] }),
    uniqueIndex("connections_slug").on(table.orgId, table.environment, table.slug),
    index("connections_integration").on(table.orgId, table.integration),
    check("connections_visibility", sql`${table.visibility} = 'org' or ${table.ownerUserId} is not null`),
  ],
);

/** A row that is a connection's goes with it. Named where the usual name would be too long for Postgres. */
function ofConnection(table: { orgId: AnyPgColumn; connectionId: AnyPgColumn }, name?: string) {
  return foreignKey({
    ...(name !== undefined && { name }),
    columns: [table.orgId, table.connectionId],
    foreignColumns: [connections.orgId, connections.id],
  }).onDelete("cascade");
}

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
    /** `token`: the sealed bytes are the one secret, `token`. `fields`: they are a JSON object of secrets by name. */
    form: text("form", { enum: ["token", "fields"] })
      .notNull()
      .default("token"),
    /** When the access token ends; null for what does not, or is not known to. */
    expiresAt: instant("expires_at"),
    /** From when calls refresh it first; null for what is not refreshed before a 401. */
    refreshAt: instant("refresh_at"),
  },
  (table) => [primaryKey({ columns: [table.orgId, table.connectionId] }), ofConnection(table)],
);

/**
 * The previous secret of a connection, sealed, with all that it was sent with: a 401 with the new one is tried again
 * with it, for a while.
 */
export const fallbackCredentials = pgTable(
  "fallback_credentials",
  {
    orgId: key("org_id").notNull(),
    connectionId: key("connection_id").notNull(),
    version: integer("version").notNull(),
    kekVersion: integer("kek_version").notNull(),
    sealed: bytea("sealed").notNull(),
    form: text("form", { enum: ["token", "fields"] }).notNull(),
    fingerprint: text("fingerprint").notNull(),
    validUntil: instant("valid_until").notNull(),
    boundTo: text("bound_to").notNull(),
    /** Null for `bearerRecipe`. */
    recipe: json("recipe").$type<Recipe>(),
    params: json("params").$type<Readonly<Record<string, string>>>().notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.connectionId] }),
    index("fallback_credentials_expiry").on(table.validUntil),
    ofConnection(table, "fallback_credentials_connection"),
  ],
);

/** The OAuth grants of connections: what is known of their refresh, and who refreshes now. */
export const oauthGrants = pgTable(
  "oauth_grants",
  {
    orgId: key("org_id").notNull(),
    connectionId: key("connection_id").notNull(),
    /** Null where the service does not say what it granted. */
    grantedScopes: text("granted_scopes").array(),
    requestedScopes: text("requested_scopes").array().notNull(),
    refreshedAt: instant("refreshed_at"),
    /** When the refresh token ends; null for what does not, or is not known to. */
    refreshExpiresAt: instant("refresh_expires_at"),
    /** When it is refreshed though nobody calls; null if it is not. */
    keepAliveAt: instant("keep_alive_at"),
    leaseOwner: key("lease_owner"),
    leaseUntil: instant("lease_until"),
    /** Set with the lease, and cleared with an answer: what is left of a refresh whose outcome nobody knows. */
    sentVersion: integer("sent_version"),
    /** Refreshes since the last that had an answer. */
    doubts: integer("doubts").notNull().default(0),
    failures: integer("failures").notNull().default(0),
    /** Until then, no refresh is tried. */
    retryAt: instant("retry_at"),
    /** Why the last refresh failed, for people; null since one that did not. */
    failure: text("failure"),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.connectionId] }),
    ofConnection(table),
    index("oauth_grants_keep_alive").on(table.keepAliveAt),
  ],
);

/** Authorizations under way. A row is used once: whoever takes it deletes it. */
export const oauthFlows = pgTable(
  "oauth_flows",
  {
    orgId: key("org_id").notNull(),
    /** SHA-256 of the link's token, then of the `state`; of a device code, of that. */
    tokenHash: bytea("token_hash").notNull(),
    stage: text("stage", { enum: ["link", "callback", "device"] }).notNull(),
    connectionId: key("connection_id").notNull(),
    userId: key("user_id"),
    apiKeyId: key("api_key_id"),
    /** SHA-256 of the browser's cookie, once a browser has opened the link. */
    browserHash: bytea("browser_hash"),
    kekVersion: integer("kek_version"),
    /** The PKCE verifier, or the device code, sealed. */
    sealed: bytea("sealed"),
    /** Of a device code: when the service is asked next whether the person has come. */
    pollAt: instant("poll_at"),
    pollSeconds: integer("poll_seconds"),
    scopes: text("scopes").array().notNull(),
    returnTo: text("return_to"),
    expiresAt: instant("expires_at").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.tokenHash] }),
    // Its organisation is found by it.
    uniqueIndex("oauth_flows_token").on(table.tokenHash),
    index("oauth_flows_expiry").on(table.expiresAt),
    index("oauth_flows_poll").on(table.pollAt),
    ofConnection(table),
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
  (table) => [primaryKey({ columns: [table.orgId, table.connectionId] }), ofConnection(table)],
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
    /** Where it failed. Null without a last error, and for one that an earlier release wrote. */
    lastErrorStage: text("last_error_stage"),
    lastErrorAt: instant("last_error_at"),
    /** When the log `service` was given an event that it is unhealthy; null while it is not. */
    unhealthySince: instant("unhealthy_since"),
    /** What the last probe found: `healthy`, or the stage at which it failed. */
    state: text("state"),
    /** How often the state was another one than before. The last are in `connection_transitions`. */
    transitions: integer("transitions").notNull().default(0),
    /** When the last probes were, the latest last, and how long the service took; null for one that failed. */
    recentAt: instant("recent_at").array().notNull().default([]),
    recentMs: integer("recent_ms").array().$type<(number | null)[]>().notNull().default([]),
    /** When the certificate ends that the service showed last; null for one without TLS. */
    certificateExpiresAt: instant("certificate_expires_at"),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.connectionId] }),
    ofConnection(table),
    index("connection_health_due").on(table.nextDueAt),
  ],
);

/** When probes of a connection began to find something else. Of each, one row for each of the last fifty. */
export const connectionTransitions = pgTable(
  "connection_transitions",
  {
    orgId: key("org_id").notNull(),
    connectionId: key("connection_id").notNull(),
    slot: integer("slot").notNull(),
    at: instant("at").notNull(),
    /** Where it failed; null if it became healthy. */
    stage: text("stage"),
    error: text("error"),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.connectionId, table.slot] }),
    index("connection_transitions_at").on(table.at),
  ],
);

/** How many changes of its connections an organisation has had. */
export const connectionHeads = pgTable(
  "connection_heads",
  {
    orgId: key("org_id").primaryKey(),
    seq: bigint("seq", { mode: "number" }).notNull(),
    /** Farewells up to this number are forgotten. */
    keptFrom: bigint("kept_from", { mode: "number" }).notNull().default(0),
  },
  (table) => [foreignKey({ columns: [table.orgId], foreignColumns: [orgs.id] })],
);

/** The number of each connection's last change. */
export const connectionChanges = pgTable(
  "connection_changes",
  {
    orgId: key("org_id").notNull(),
    connectionId: key("connection_id").notNull(),
    environment: text("environment", { enum: ["sandbox", "live"] }).notNull(),
    seq: bigint("seq", { mode: "number" }).notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.connectionId] }),
    uniqueIndex("connection_changes_seq").on(table.orgId, table.seq),
    foreignKey({ columns: [table.orgId], foreignColumns: [orgs.id] }),
  ],
);

/** Connections as they were seen before they were deleted, or before other callers than until then could see them. */
export const connectionFarewells = pgTable(
  "connection_farewells",
  {
    orgId: key("org_id").notNull(),
    seq: bigint("seq", { mode: "number" }).notNull(),
    connectionId: key("connection_id").notNull(),
    environment: text("environment", { enum: ["sandbox", "live"] }).notNull(),
    slug: key("slug"),
    tags: text("tags").array().notNull(),
    ownerUserId: key("owner_user_id"),
    visibility: text("visibility", { enum: ["org", "owner"] }).notNull(),
    at: instant("at").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.seq] }),
    foreignKey({ columns: [table.orgId], foreignColumns: [orgs.id] }),
    index("connection_farewells_at").on(table.at),
  ],
);
