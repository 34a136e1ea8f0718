CREATE TABLE "api_key_secrets" (
	"secret_hash" "bytea" PRIMARY KEY NOT NULL,
	"org_id" text collate "C" NOT NULL,
	"key_id" text collate "C" NOT NULL,
	"hint" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "api_key_secrets_hash" CHECK (octet_length("api_key_secrets"."secret_hash") = 32)
);
--> statement-breakpoint
CREATE TABLE "api_key_usage" (
	"org_id" text collate "C" NOT NULL,
	"key_id" text collate "C" NOT NULL,
	"last_used_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "api_key_usage_org_id_key_id_pk" PRIMARY KEY("org_id","key_id")
);
--> statement-breakpoint
CREATE TABLE "api_keys" (
	"org_id" text collate "C" NOT NULL,
	"id" text collate "C" NOT NULL,
	"name" text NOT NULL,
	"environment" text NOT NULL,
	"scopes" text[] NOT NULL,
	"act_as_user_id" text collate "C",
	"created_at" timestamp (3) with time zone NOT NULL,
	"expires_at" timestamp (3) with time zone,
	"revoked_at" timestamp (3) with time zone,
	CONSTRAINT "api_keys_org_id_id_pk" PRIMARY KEY("org_id","id"),
	CONSTRAINT "api_keys_scopes" CHECK (cardinality("api_keys"."scopes") between 1 and 200)
);
--> statement-breakpoint
CREATE TABLE "connection_health" (
	"org_id" text collate "C" NOT NULL,
	"connection_id" text collate "C" NOT NULL,
	"next_due_at" timestamp (3) with time zone NOT NULL,
	"last_checked_at" timestamp (3) with time zone,
	"last_healthy_at" timestamp (3) with time zone,
	"last_error" text,
	CONSTRAINT "connection_health_org_id_connection_id_pk" PRIMARY KEY("org_id","connection_id")
);
--> statement-breakpoint
CREATE TABLE "connection_usage" (
	"org_id" text collate "C" NOT NULL,
	"connection_id" text collate "C" NOT NULL,
	"calls" bigint NOT NULL,
	"last_used_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "connection_usage_org_id_connection_id_pk" PRIMARY KEY("org_id","connection_id")
);
--> statement-breakpoint
CREATE TABLE "connections" (
	"org_id" text collate "C" NOT NULL,
	"id" text collate "C" NOT NULL,
	"environment" text NOT NULL,
	"slug" text collate "C" NOT NULL,
	"base_url" text NOT NULL,
	"active" boolean NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "connections_org_id_id_pk" PRIMARY KEY("org_id","id")
);
--> statement-breakpoint
CREATE TABLE "credentials" (
	"org_id" text collate "C" NOT NULL,
	"connection_id" text collate "C" NOT NULL,
	"origin" text NOT NULL,
	"version" integer NOT NULL,
	"kek_version" integer NOT NULL,
	"sealed" "bytea" NOT NULL,
	"fingerprint" text NOT NULL,
	CONSTRAINT "credentials_org_id_connection_id_pk" PRIMARY KEY("org_id","connection_id")
);
--> statement-breakpoint
CREATE TABLE "org_keys" (
	"org_id" text collate "C" NOT NULL,
	"purpose" text NOT NULL,
	"version" integer NOT NULL,
	"wrapped_key" "bytea",
	"root_key_id" text collate "C" NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "org_keys_org_id_purpose_version_pk" PRIMARY KEY("org_id","purpose","version"),
	CONSTRAINT "org_keys_version" CHECK ("org_keys"."version" > 0)
);
--> statement-breakpoint
CREATE TABLE "service_keys" (
	"purpose" text NOT NULL,
	"version" integer NOT NULL,
	"wrapped_key" "bytea" NOT NULL,
	"root_key_id" text collate "C" NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "service_keys_purpose_version_pk" PRIMARY KEY("purpose","version")
);
--> statement-breakpoint
ALTER TABLE "api_key_secrets" ADD CONSTRAINT "api_key_secrets_org_id_key_id_api_keys_org_id_id_fk" FOREIGN KEY ("org_id","key_id") REFERENCES "public"."api_keys"("org_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "api_key_usage" ADD CONSTRAINT "api_key_usage_org_id_key_id_api_keys_org_id_id_fk" FOREIGN KEY ("org_id","key_id") REFERENCES "public"."api_keys"("org_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "api_keys" ADD CONSTRAINT "api_keys_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "api_keys" ADD CONSTRAINT "api_keys_org_id_act_as_user_id_users_org_id_id_fk" FOREIGN KEY ("org_id","act_as_user_id") REFERENCES "public"."users"("org_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "connection_health" ADD CONSTRAINT "connection_health_org_id_connection_id_connections_org_id_id_fk" FOREIGN KEY ("org_id","connection_id") REFERENCES "public"."connections"("org_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "connection_usage" ADD CONSTRAINT "connection_usage_org_id_connection_id_connections_org_id_id_fk" FOREIGN KEY ("org_id","connection_id") REFERENCES "public"."connections"("org_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "connections" ADD CONSTRAINT "connections_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "credentials" ADD CONSTRAINT "credentials_org_id_connection_id_connections_org_id_id_fk" FOREIGN KEY ("org_id","connection_id") REFERENCES "public"."connections"("org_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "org_keys" ADD CONSTRAINT "org_keys_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "api_key_secrets_key" ON "api_key_secrets" USING btree ("org_id","key_id");--> statement-breakpoint
CREATE INDEX "connection_health_due" ON "connection_health" USING btree ("next_due_at");--> statement-breakpoint
CREATE UNIQUE INDEX "connections_slug" ON "connections" USING btree ("org_id","environment","slug");