CREATE TABLE "catalog_definitions" (
	"org_id" text collate "C" NOT NULL,
	"slug" text collate "C" NOT NULL,
	"revision" integer NOT NULL,
	"name" text NOT NULL,
	"schema" json NOT NULL,
	CONSTRAINT "catalog_definitions_org_id_slug_revision_name_pk" PRIMARY KEY("org_id","slug","revision","name")
);
--> statement-breakpoint
CREATE TABLE "catalog_operations" (
	"org_id" text collate "C" NOT NULL,
	"slug" text collate "C" NOT NULL,
	"revision" integer NOT NULL,
	"path" text collate "C" NOT NULL,
	"method" text collate "C" NOT NULL,
	"operation_id" text collate "C",
	"name" text NOT NULL,
	"description" text,
	"deprecated" boolean NOT NULL,
	"scopes" text[] NOT NULL,
	"parameters" json NOT NULL,
	"body" json,
	"input_schema" json,
	"output_schema" json,
	"definition_names" text[] NOT NULL,
	"fingerprint" text NOT NULL,
	"in_force" boolean NOT NULL,
	"search" "tsvector" NOT NULL,
	CONSTRAINT "catalog_operations_org_id_slug_revision_path_method_pk" PRIMARY KEY("org_id","slug","revision","path","method")
);
--> statement-breakpoint
CREATE TABLE "catalog_revisions" (
	"org_id" text collate "C" NOT NULL,
	"slug" text collate "C" NOT NULL,
	"revision" integer NOT NULL,
	"digest" text NOT NULL,
	"reader" integer NOT NULL,
	"format" text NOT NULL,
	"source" text NOT NULL,
	"source_url" text,
	"title" text NOT NULL,
	"document_version" text,
	"style_table" text NOT NULL,
	"document_bytes" integer NOT NULL,
	"schema_bytes" integer NOT NULL,
	"operations" integer NOT NULL,
	"problems" json NOT NULL,
	"problem_count" integer NOT NULL,
	"definition" json,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "catalog_revisions_org_id_slug_revision_pk" PRIMARY KEY("org_id","slug","revision")
);
--> statement-breakpoint
CREATE TABLE "catalogs" (
	"org_id" text collate "C" NOT NULL,
	"slug" text collate "C" NOT NULL,
	"revision" integer NOT NULL,
	"last_revision" integer NOT NULL,
	"watched_through" text collate "C",
	"next_check_at" timestamp (3) with time zone,
	"checked_at" timestamp (3) with time zone,
	"drift" json,
	"updated_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "catalogs_org_id_slug_pk" PRIMARY KEY("org_id","slug")
);
--> statement-breakpoint
CREATE TABLE "operation_drift" (
	"org_id" text collate "C" NOT NULL,
	"slug" text collate "C" NOT NULL,
	"path" text collate "C" NOT NULL,
	"method" text collate "C" NOT NULL,
	"checked" bigint NOT NULL,
	"unfit" bigint NOT NULL,
	"last_unfit_at" timestamp (3) with time zone,
	"last_problem" text,
	CONSTRAINT "operation_drift_org_id_slug_path_method_pk" PRIMARY KEY("org_id","slug","path","method")
);
--> statement-breakpoint
ALTER TABLE "catalog_definitions" ADD CONSTRAINT "catalog_definitions_revision" FOREIGN KEY ("org_id","slug","revision") REFERENCES "public"."catalog_revisions"("org_id","slug","revision") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "catalog_operations" ADD CONSTRAINT "catalog_operations_revision" FOREIGN KEY ("org_id","slug","revision") REFERENCES "public"."catalog_revisions"("org_id","slug","revision") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "catalog_revisions" ADD CONSTRAINT "catalog_revisions_org_id_slug_catalogs_org_id_slug_fk" FOREIGN KEY ("org_id","slug") REFERENCES "public"."catalogs"("org_id","slug") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "catalogs" ADD CONSTRAINT "catalogs_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "operation_drift" ADD CONSTRAINT "operation_drift_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "catalog_operations_in_force" ON "catalog_operations" USING btree ("org_id","slug","path","method") WHERE "catalog_operations"."in_force";--> statement-breakpoint
CREATE INDEX "catalog_operations_search" ON "catalog_operations" USING gin ("search") WHERE "catalog_operations"."in_force";--> statement-breakpoint
CREATE UNIQUE INDEX "catalog_operations_ids" ON "catalog_operations" USING btree ("org_id","slug","revision","operation_id");