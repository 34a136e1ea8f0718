import {
  bigint,
  boolean,
  customType,
  foreignKey,
  index,
  integer,
  json,
  pgTable,
  primaryKey,
  sql,
  text,
  uniqueIndex,
} from "#src/db/drizzle.cjs";
import { instant, jsonText, key } from "#src/db/columns.ts";
import { orgs } from "#src/directory/schema.ts";
import type { BodyForm, Parameter } from "./operation.ts";
import type { DerivedDefinition, ImportProblem } from "./import/imported.ts";

const tsvector = customType<{ data: string }>({ dataType: () => "tsvector" });

/** What an organisation has imported of a service, and which of it is in force. */
export const catalogs = pgTable(
  "catalogs",
  {
    orgId: key("org_id").notNull(),
    slug: key("slug").notNull(),
    /** The one in force; 0 for what comes with Patchbay. */
    revision: integer("revision").notNull(),
    /** The number of the latest; numbers are not used again. */
    lastRevision: integer("last_revision").notNull(),
    /** The connection through which the service's own document is compared daily; null if it is not. */
    watchedThrough: key("watched_through"),
    nextCheckAt: instant("next_check_at"),
    checkedAt: instant("checked_at"),
    /** How the service's own document differed when it was last compared; null if it did not, or never was. */
    drift: json("drift").$type<CatalogDrift>(),
    /** What the integration has from documents, whichever is in force: a person's changes differ from it. */
    definition: json("definition").$type<DerivedDefinition>(),
    updatedAt: instant("updated_at").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.slug] }),
    foreignKey({ columns: [table.orgId], foreignColumns: [orgs.id] }),
    index("catalogs_due")
      .on(table.nextCheckAt)
      .where(sql`${table.watchedThrough} is not null`),
  ],
);

/** How a service's own document differs from what is in force. */
export interface CatalogDrift {
  /** Why it could not be compared. */
  readonly error?: string;
  readonly digest?: string;
  readonly added?: number;
  readonly removed?: number;
  readonly changed?: number;
  readonly breaking?: number;
}

/** One import. Once it is ready, it does not change any more. */
export const catalogRevisions = pgTable(
  "catalog_revisions",
  {
    orgId: key("org_id").notNull(),
    slug: key("slug").notNull(),
    revision: integer("revision").notNull(),
    /** `sha256:…` of the document. */
    digest: text("digest").notNull(),
    /** The version of the code that read it, which may read more of it next time. */
    reader: integer("reader").notNull(),
    /** Such as `openapi-3.1`, `swagger-2.0` or `grpc`. */
    format: text("format").notNull(),
    source: text("source", { enum: ["document", "url", "service", "grpc"] }).notNull(),
    sourceUrl: text("source_url"),
    title: text("title").notNull(),
    /** What the document says its own version is. */
    documentVersion: text("document_version"),
    styleTable: text("style_table", { enum: ["3.0", "3.1"] }).notNull(),
    documentBytes: integer("document_bytes").notNull(),
    /** Of all schemas as they are stored. */
    schemaBytes: integer("schema_bytes").notNull(),
    operations: integer("operations").notNull(),
    /** What was left out, or is wrong; the first thousand. */
    problems: json("problems").$type<readonly ImportProblem[]>().notNull(),
    problemCount: integer("problem_count").notNull(),
    /** What the document says of the integration: null if nothing, or if that is not the organisation's own. */
    definition: json("definition").$type<DerivedDefinition>(),
    /** False as long as its operations are still being written. Then it can be read by its writer alone. */
    ready: boolean("ready").notNull().default(true),
    createdAt: instant("created_at").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.slug, table.revision] }),
    foreignKey({
      columns: [table.orgId, table.slug],
      foreignColumns: [catalogs.orgId, catalogs.slug],
    }).onDelete("cascade"),
    index("catalog_revisions_unready")
      .on(table.createdAt)
      .where(sql`not ${table.ready}`),
  ],
);

/** The operations of each import. */
export const catalogOperations = pgTable(
  "catalog_operations",
  {
    orgId: key("org_id").notNull(),
    slug: key("slug").notNull(),
    revision: integer("revision").notNull(),
    path: key("path").notNull(),
    method: key("method").notNull(),
    operationId: key("operation_id"),
    name: text("name").notNull(),
    description: text("description"),
    deprecated: boolean("deprecated").notNull(),
    scopes: text("scopes").array().notNull(),
    parameters: json("parameters").$type<readonly Parameter[]>().notNull(),
    body: json("body").$type<BodyForm>(),
    /** Like the next one, with references to `catalog_definitions`. */
    inputSchema: jsonText("input_schema"),
    outputSchema: jsonText("output_schema"),
    /** All that its schemas refer to, directly or not. */
    definitionNames: text("definition_names").array().notNull(),
    /** Differs from that of another revision's operation if anything of the operation does. */
    fingerprint: text("fingerprint").notNull(),
    /** Whether its revision is. Here as well, so that an index holds no others. */
    inForce: boolean("in_force").notNull(),
    search: tsvector("search").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.slug, table.revision, table.path, table.method] }),
    foreignKey({
      columns: [table.orgId, table.slug, table.revision],
      foreignColumns: [catalogRevisions.orgId, catalogRevisions.slug, catalogRevisions.revision],
      name: "catalog_operations_revision",
    }).onDelete("cascade"),
    index("catalog_operations_in_force")
      .on(table.orgId, table.slug, table.path, table.method)
      .where(sql`${table.inForce}`),
    index("catalog_operations_search")
      .using("gin", table.search)
      .where(sql`${table.inForce}`),
    uniqueIndex("catalog_operations_ids").on(table.orgId, table.slug, table.revision, table.operationId),
  ],
);

/** The schemas that operations of an import share. */
export const catalogDefinitions = pgTable(
  "catalog_definitions",
  {
    orgId: key("org_id").notNull(),
    slug: key("slug").notNull(),
    revision: integer("revision").notNull(),
    name: text("name").notNull(),
    schema: jsonText("schema").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.slug, table.revision, table.name] }),
    foreignKey({
      columns: [table.orgId, table.slug, table.revision],
      foreignColumns: [catalogRevisions.orgId, catalogRevisions.slug, catalogRevisions.revision],
      name: "catalog_definitions_revision",
    }).onDelete("cascade"),
  ],
);

/** How often answers of an operation did not fit what its document says of them. */
export const operationDrift = pgTable(
  "operation_drift",
  {
    orgId: key("org_id").notNull(),
    slug: key("slug").notNull(),
    path: key("path").notNull(),
    method: key("method").notNull(),
    checked: bigint("checked", { mode: "number" }).notNull(),
    unfit: bigint("unfit", { mode: "number" }).notNull(),
    lastUnfitAt: instant("last_unfit_at"),
    /** Where, and what is wrong there, without any value. */
    lastProblem: text("last_problem"),
  },
  (table) => [
    primaryKey({ columns: [table.orgId, table.slug, table.path, table.method] }),
    foreignKey({ columns: [table.orgId], foreignColumns: [orgs.id] }),
  ],
);
