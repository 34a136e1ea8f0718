CREATE TABLE "api_key_ends" (
	"org_id" text collate "C" NOT NULL,
	"key_id" text collate "C" NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL,
	"days_left" integer NOT NULL,
	CONSTRAINT "api_key_ends_org_id_key_id_pk" PRIMARY KEY("org_id","key_id")
);
--> statement-breakpoint
CREATE TABLE "channel_secrets" (
	"org_id" text collate "C" NOT NULL,
	"channel_id" text collate "C" NOT NULL,
	"version" integer NOT NULL,
	"kek_version" integer NOT NULL,
	"sealed" "bytea" NOT NULL,
	"valid_until" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "channel_secrets_org_id_channel_id_version_pk" PRIMARY KEY("org_id","channel_id","version")
);
--> statement-breakpoint
CREATE TABLE "channel_sources" (
	"org_id" text collate "C" NOT NULL,
	"channel_id" text collate "C" NOT NULL,
	"position" json NOT NULL,
	"due_at" timestamp (3) with time zone NOT NULL,
	"lease" text,
	"lease_until" timestamp (3) with time zone,
	"failures" integer NOT NULL,
	"last_read_at" timestamp (3) with time zone,
	"last_error" text,
	"last_error_at" timestamp (3) with time zone,
	"waits_for" text,
	CONSTRAINT "channel_sources_org_id_channel_id_pk" PRIMARY KEY("org_id","channel_id")
);
--> statement-breakpoint
CREATE TABLE "channels" (
	"org_id" text collate "C" NOT NULL,
	"id" text collate "C" NOT NULL,
	"environment" text NOT NULL,
	"name" text NOT NULL,
	"kind" text NOT NULL,
	"config" json NOT NULL,
	"connection_id" text collate "C",
	"state" text NOT NULL,
	"state_reason" text,
	"segment_hash" "bytea",
	"created_by" text collate "C",
	"version" integer NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "channels_org_id_id_pk" PRIMARY KEY("org_id","id")
);
--> statement-breakpoint
CREATE TABLE "events" (
	"org_id" text collate "C" NOT NULL,
	"log" text collate "C" NOT NULL,
	"seq" bigint NOT NULL,
	"ends_on" date NOT NULL,
	"received_at" timestamp (3) with time zone NOT NULL,
	"id" text NOT NULL,
	"source" text NOT NULL,
	"type" text NOT NULL,
	"subject" text,
	"time" text,
	"content_type" text,
	"extensions" json NOT NULL,
	"verified" text NOT NULL,
	"masked" text,
	"data" "bytea",
	"data_bytes" integer NOT NULL,
	CONSTRAINT "events_org_id_log_seq_ends_on_pk" PRIMARY KEY("org_id","log","seq","ends_on")
) PARTITION BY RANGE ("ends_on");
--> statement-breakpoint
CREATE TABLE "log_days" (
	"org_id" text collate "C" NOT NULL,
	"log" text collate "C" NOT NULL,
	"ends_on" date NOT NULL,
	"first_seq" bigint NOT NULL,
	"last_seq" bigint NOT NULL,
	"bytes" bigint NOT NULL,
	CONSTRAINT "log_days_org_id_log_ends_on_pk" PRIMARY KEY("org_id","log","ends_on")
);
--> statement-breakpoint
CREATE TABLE "log_heads" (
	"org_id" text collate "C" NOT NULL,
	"log" text collate "C" NOT NULL,
	"seq" bigint NOT NULL,
	"kept_from" bigint DEFAULT 1 NOT NULL,
	"sealed_key" "bytea",
	"kek_version" integer,
	"retention_seconds" integer NOT NULL,
	"dedup_seconds" integer NOT NULL,
	CONSTRAINT "log_heads_org_id_log_pk" PRIMARY KEY("org_id","log")
);
--> statement-breakpoint
CREATE TABLE "receipts" (
	"org_id" text collate "C" NOT NULL,
	"log" text collate "C" NOT NULL,
	"key" "bytea" NOT NULL,
	"seq" bigint NOT NULL,
	"ends_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "receipts_org_id_log_key_ends_at_pk" PRIMARY KEY("org_id","log","key","ends_at")
) PARTITION BY RANGE ("ends_at");
--> statement-breakpoint
CREATE TABLE "event_group_backlog" (
	"org_id" text collate "C" NOT NULL,
	"group_id" text collate "C" NOT NULL,
	"seq" bigint NOT NULL,
	"key" text,
	"deliveries" integer NOT NULL,
	"available_at" timestamp (3) with time zone NOT NULL,
	"dead_at" timestamp (3) with time zone,
	"dead_reason" text,
	CONSTRAINT "event_group_backlog_org_id_group_id_seq_pk" PRIMARY KEY("org_id","group_id","seq")
);
--> statement-breakpoint
CREATE TABLE "event_group_deliveries" (
	"org_id" text collate "C" NOT NULL,
	"group_id" text collate "C" NOT NULL,
	"id" text collate "C" NOT NULL,
	"events" json NOT NULL,
	"size" integer NOT NULL,
	"keys" text[] NOT NULL,
	"until" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "event_group_deliveries_org_id_group_id_id_pk" PRIMARY KEY("org_id","group_id","id")
);
--> statement-breakpoint
CREATE TABLE "event_groups" (
	"org_id" text collate "C" NOT NULL,
	"id" text collate "C" NOT NULL,
	"environment" text NOT NULL,
	"name" text NOT NULL,
	"log" text collate "C" NOT NULL,
	"types" text[] NOT NULL,
	"ordering" text NOT NULL,
	"ack_seconds" integer NOT NULL,
	"max_deliveries" integer NOT NULL,
	"seq" bigint NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"created_by" text collate "C" NOT NULL,
	CONSTRAINT "event_groups_org_id_id_pk" PRIMARY KEY("org_id","id")
);
--> statement-breakpoint
CREATE TABLE "webhook_attempts" (
	"org_id" text collate "C" NOT NULL,
	"endpoint_id" text collate "C" NOT NULL,
	"at" timestamp (3) with time zone NOT NULL,
	"ends_on" date NOT NULL,
	"tries" json NOT NULL
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
	"owner_rights" text,
	"version" integer NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL,
	"due_at" timestamp (3) with time zone,
	"not_before" timestamp (3) with time zone,
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
ALTER TABLE "connection_health" ADD COLUMN "unhealthy_since" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "api_key_ends" ADD CONSTRAINT "api_key_ends_org_id_key_id_api_keys_org_id_id_fk" FOREIGN KEY ("org_id","key_id") REFERENCES "public"."api_keys"("org_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "channel_secrets" ADD CONSTRAINT "channel_secrets_org_id_channel_id_channels_org_id_id_fk" FOREIGN KEY ("org_id","channel_id") REFERENCES "public"."channels"("org_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "channel_sources" ADD CONSTRAINT "channel_sources_org_id_channel_id_channels_org_id_id_fk" FOREIGN KEY ("org_id","channel_id") REFERENCES "public"."channels"("org_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "channels" ADD CONSTRAINT "channels_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "event_group_backlog" ADD CONSTRAINT "event_group_backlog_group" FOREIGN KEY ("org_id","group_id") REFERENCES "public"."event_groups"("org_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "event_group_deliveries" ADD CONSTRAINT "event_group_deliveries_group" FOREIGN KEY ("org_id","group_id") REFERENCES "public"."event_groups"("org_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "event_groups" ADD CONSTRAINT "event_groups_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "webhook_cursors" ADD CONSTRAINT "webhook_cursors_endpoint" FOREIGN KEY ("org_id","endpoint_id") REFERENCES "public"."webhook_endpoints"("org_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "webhook_endpoints" ADD CONSTRAINT "webhook_endpoints_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "webhook_parked" ADD CONSTRAINT "webhook_parked_endpoint" FOREIGN KEY ("org_id","endpoint_id") REFERENCES "public"."webhook_endpoints"("org_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "webhook_secrets" ADD CONSTRAINT "webhook_secrets_endpoint" FOREIGN KEY ("org_id","endpoint_id") REFERENCES "public"."webhook_endpoints"("org_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "channel_sources_due" ON "channel_sources" USING btree ("due_at");--> statement-breakpoint
CREATE UNIQUE INDEX "channel_sources_lease" ON "channel_sources" USING btree ("lease") WHERE "channel_sources"."lease" is not null;--> statement-breakpoint
CREATE INDEX "channels_id" ON "channels" USING btree ("id");--> statement-breakpoint
CREATE UNIQUE INDEX "log_heads_channel" ON "log_heads" USING btree ("log") WHERE "log_heads"."log" like 'chn\_%';--> statement-breakpoint
CREATE INDEX "event_group_backlog_waiting" ON "event_group_backlog" USING btree ("org_id","group_id","seq") WHERE "event_group_backlog"."dead_at" is null;--> statement-breakpoint
CREATE INDEX "event_group_deliveries_until" ON "event_group_deliveries" USING btree ("org_id","group_id","until");--> statement-breakpoint
CREATE INDEX "webhook_attempts_of" ON "webhook_attempts" USING btree ("org_id","endpoint_id","at");--> statement-breakpoint
CREATE INDEX "webhook_endpoints_due" ON "webhook_endpoints" USING btree ("due_at") WHERE "webhook_endpoints"."due_at" is not null;--> statement-breakpoint
CREATE INDEX "webhook_parked_due" ON "webhook_parked" USING btree ("org_id","endpoint_id","next_try_at");--> statement-breakpoint
CREATE INDEX "webhook_parked_order" ON "webhook_parked" USING btree ("org_id","endpoint_id","log","subject","seq") WHERE "webhook_parked"."dead_at" is null;--> statement-breakpoint
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX "api_keys_expiry" ON "api_keys" USING btree ("expires_at") WHERE "api_keys"."expires_at" is not null and "api_keys"."revoked_at" is null;