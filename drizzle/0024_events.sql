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
ALTER TABLE "channel_secrets" ADD CONSTRAINT "channel_secrets_org_id_channel_id_channels_org_id_id_fk" FOREIGN KEY ("org_id","channel_id") REFERENCES "public"."channels"("org_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "channels" ADD CONSTRAINT "channels_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "channels_id" ON "channels" USING btree ("id");--> statement-breakpoint
CREATE INDEX "log_heads_channel" ON "log_heads" USING btree ("log") WHERE "log_heads"."log" like 'chn\_%';