CREATE TABLE "idempotent_requests" (
	"org_id" text collate "C" NOT NULL,
	"caller_key_id" text collate "C" NOT NULL,
	"idempotency_key" text collate "C" NOT NULL,
	"request_hash" "bytea" NOT NULL,
	"target" text collate "C" NOT NULL,
	"at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "idempotent_requests_org_id_caller_key_id_idempotency_key_pk" PRIMARY KEY("org_id","caller_key_id","idempotency_key")
);
--> statement-breakpoint
ALTER TABLE "api_key_secrets" ADD COLUMN "hash_kind" text DEFAULT 'peppered' NOT NULL;--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "kind" text DEFAULT 'issued' NOT NULL;--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "caller_service_slug" text collate "C";--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "allowed_cidrs" text[] DEFAULT '{}' NOT NULL;--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "metadata" json DEFAULT '{}'::json NOT NULL;--> statement-breakpoint
ALTER TABLE "credentials" ADD COLUMN "principal_key_id" text collate "C";--> statement-breakpoint
ALTER TABLE "idempotent_requests" ADD CONSTRAINT "idempotent_requests_org_id_caller_key_id_api_keys_org_id_id_fk" FOREIGN KEY ("org_id","caller_key_id") REFERENCES "public"."api_keys"("org_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "idempotent_requests_at" ON "idempotent_requests" USING btree ("org_id","at");--> statement-breakpoint
-- No release has this table.
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE "api_key_secrets" ADD CONSTRAINT "api_key_secrets_kind" CHECK ("api_key_secrets"."hash_kind" in ('peppered', 'sha256'));--> statement-breakpoint
-- No release has this table.
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE "api_keys" ADD CONSTRAINT "api_keys_kind" CHECK ("api_keys"."kind" in ('issued', 'imported', 'service_principal'));--> statement-breakpoint
-- No release has this table.
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE "api_keys" ADD CONSTRAINT "api_keys_caller" CHECK (("api_keys"."kind" = 'service_principal') = ("api_keys"."caller_service_slug" is not null));