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
ALTER TABLE "event_groups" ADD CONSTRAINT "event_groups_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "event_group_deliveries" ADD CONSTRAINT "event_group_deliveries_group" FOREIGN KEY ("org_id","group_id") REFERENCES "public"."event_groups"("org_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "event_group_backlog" ADD CONSTRAINT "event_group_backlog_group" FOREIGN KEY ("org_id","group_id") REFERENCES "public"."event_groups"("org_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "event_group_deliveries_until" ON "event_group_deliveries" USING btree ("org_id","group_id","until");--> statement-breakpoint
CREATE INDEX "event_group_backlog_waiting" ON "event_group_backlog" USING btree ("org_id","group_id","seq") WHERE "event_group_backlog"."dead_at" is null;
--> statement-breakpoint
-- Of all groups: what is dead for so long is not asked for any more.
CREATE FUNCTION erase_dead_events(before timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$ DELETE FROM event_group_backlog WHERE dead_at < before $$;
--> statement-breakpoint
REVOKE EXECUTE ON FUNCTION erase_dead_events(timestamptz) FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION erase_dead_events(timestamptz) TO patchbay_app;
--> statement-breakpoint
SELECT protect_table('event_groups'), protect_table('event_group_deliveries'), protect_table('event_group_backlog');
