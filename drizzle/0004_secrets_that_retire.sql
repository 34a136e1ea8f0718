-- No release has this table.
-- squawk-ignore ban-drop-table
DROP TABLE "api_key_usage" CASCADE;--> statement-breakpoint
ALTER TABLE "api_key_secrets" ADD COLUMN "valid_until" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "api_key_secrets" ADD COLUMN "last_used_at" timestamp (3) with time zone;