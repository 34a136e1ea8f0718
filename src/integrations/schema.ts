import { foreignKey, integer, json, pgTable, primaryKey, text } from "#src/db/drizzle.cjs";
import { bytea, instant, key } from "#src/db/columns.ts";
import { orgs } from "#src/directory/schema.ts";
import type { Integration } from "./integration.ts";

/** The integrations that organisations have of their own. Siblings and presets come with the service. */
export const integrations = pgTable(
  "integrations",
  {
    orgId: key("org_id").notNull(),
    slug: key("slug").notNull(),
    /** Counts up with each change. */
    version: integer("version").notNull(),
    definition: json("definition").$type<Integration>().notNull(),
    createdAt: instant("created_at").notNull(),
    updatedAt: instant("updated_at").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.slug] }),
    foreignKey({ columns: [table.orgId], foreignColumns: [orgs.id] }),
  ],
);

/** The organisation as an OAuth client of a service: what it was registered as there. */
export const oauthClients = pgTable(
  "oauth_clients",
  {
    orgId: key("org_id").notNull(),
    environment: text("environment", { enum: ["sandbox", "live"] }).notNull(),
    integration: key("integration").notNull(),
    authMethod: key("auth_method").notNull(),
    clientId: text("client_id").notNull(),
    /** The token endpoint that the secret was stored for, and is sent to. */
    boundTo: text("bound_to").notNull(),
    version: integer("version").notNull(),
    /** Null, like the fields below, for a public client, which has no secret. */
    kekVersion: integer("kek_version"),
    sealed: bytea("sealed"),
    fingerprint: text("fingerprint"),
    updatedAt: instant("updated_at").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.environment, table.integration, table.authMethod] }),
    foreignKey({ columns: [table.orgId], foreignColumns: [orgs.id] }),
  ],
);
