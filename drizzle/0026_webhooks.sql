CREATE TABLE "webhook_attempts" (
	"org_id" text collate "C" NOT NULL,
	"endpoint_id" text collate "C" NOT NULL,
	"at" timestamp (3) with time zone NOT NULL,
	"ends_on" date NOT NULL,
	"log" text collate "C" NOT NULL,
	"seq" bigint NOT NULL,
	"attempt" integer NOT NULL,
	"status" integer,
	"latency_ms" integer NOT NULL,
	"stage" text,
	"answer_type" text,
	"answer_bytes" integer
) PARTITION BY RANGE ("ends_on");
--> statement-breakpoint
CREATE TABLE "webhook_cursors" (
	"org_id" text collate "C" NOT NULL,
	"endpoint_id" text collate "C" NOT NULL,
	"log" text collate "C" NOT NULL,
	"seq" bigint NOT NULL,
	"previous" bigint,
	CONSTRAINT "webhook_cursors_org_id_endpoint_id_log_pk" PRIMARY KEY("org_id","endpoint_id","log")
);
--> statement-breakpoint
CREATE TABLE "webhook_endpoints" (
	"org_id" text collate "C" NOT NULL,
	"id" text collate "C" NOT NULL,
	"environment" text NOT NULL,
	"url" text NOT NULL,
	"description" text NOT NULL,
	"types" text[] NOT NULL,
	"paused_types" text[] NOT NULL,
	"ordering" text NOT NULL,
	"after_schedule" text NOT NULL,
	"body" text NOT NULL,
	"content_type" text NOT NULL,
	"max_in_flight" integer NOT NULL,
	"per_second" integer,
	"keep_successes" boolean NOT NULL,
	"header_names" text[] NOT NULL,
	"sealed_headers" "bytea",
	"headers_kek_version" integer,
	"headers_version" integer NOT NULL,
	"state" text NOT NULL,
	"state_reason" text,
	"owner_key_id" text collate "C" NOT NULL,
	"owner_user_id" text collate "C",
	"version" integer NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL,
	"due_at" timestamp (3) with time zone,
	"lease_owner" text collate "C",
	"lease_until" timestamp (3) with time zone,
	"failures" integer NOT NULL,
	"failing_since" timestamp (3) with time zone,
	"last_success_at" timestamp (3) with time zone,
	"last_failure_at" timestamp (3) with time zone,
	CONSTRAINT "webhook_endpoints_org_id_id_pk" PRIMARY KEY("org_id","id")
);
--> statement-breakpoint
CREATE TABLE "webhook_parked" (
	"org_id" text collate "C" NOT NULL,
	"endpoint_id" text collate "C" NOT NULL,
	"log" text collate "C" NOT NULL,
	"seq" bigint NOT NULL,
	"previous" bigint,
	"subject" text,
	"attempts" integer NOT NULL,
	"next_try_at" timestamp (3) with time zone,
	"redelivery" boolean NOT NULL,
	"webhook_id" text,
	"last_status" integer,
	"last_stage" text,
	"parked_at" timestamp (3) with time zone NOT NULL,
	"dead_at" timestamp (3) with time zone,
	CONSTRAINT "webhook_parked_org_id_endpoint_id_log_seq_pk" PRIMARY KEY("org_id","endpoint_id","log","seq")
);
--> statement-breakpoint
CREATE TABLE "webhook_secrets" (
	"org_id" text collate "C" NOT NULL,
	"endpoint_id" text collate "C" NOT NULL,
	"version" integer NOT NULL,
	"kek_version" integer NOT NULL,
	"sealed" "bytea" NOT NULL,
	"valid_until" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "webhook_secrets_org_id_endpoint_id_version_pk" PRIMARY KEY("org_id","endpoint_id","version")
);
--> statement-breakpoint
ALTER TABLE "webhook_cursors" ADD CONSTRAINT "webhook_cursors_org_id_endpoint_id_webhook_endpoints_org_id_id_fk" FOREIGN KEY ("org_id","endpoint_id") REFERENCES "public"."webhook_endpoints"("org_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "webhook_endpoints" ADD CONSTRAINT "webhook_endpoints_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "webhook_parked" ADD CONSTRAINT "webhook_parked_org_id_endpoint_id_webhook_endpoints_org_id_id_fk" FOREIGN KEY ("org_id","endpoint_id") REFERENCES "public"."webhook_endpoints"("org_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "webhook_secrets" ADD CONSTRAINT "webhook_secrets_org_id_endpoint_id_webhook_endpoints_org_id_id_fk" FOREIGN KEY ("org_id","endpoint_id") REFERENCES "public"."webhook_endpoints"("org_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "webhook_attempts_of" ON "webhook_attempts" USING btree ("org_id","endpoint_id","at");--> statement-breakpoint
CREATE INDEX "webhook_endpoints_due" ON "webhook_endpoints" USING btree ("due_at") WHERE "webhook_endpoints"."due_at" is not null;--> statement-breakpoint
CREATE INDEX "webhook_parked_due" ON "webhook_parked" USING btree ("org_id","endpoint_id","next_try_at");
--> statement-breakpoint
SELECT protect_table('webhook_endpoints'), protect_table('webhook_secrets'), protect_table('webhook_cursors'),
  protect_table('webhook_parked'), protect_table('webhook_attempts');
