ALTER TABLE "catalog_revisions" ADD COLUMN "ready" boolean DEFAULT true NOT NULL;--> statement-breakpoint
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX "catalog_revisions_unready" ON "catalog_revisions" USING btree ("created_at") WHERE not "catalog_revisions"."ready";--> statement-breakpoint
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX "catalogs_due" ON "catalogs" USING btree ("next_check_at") WHERE "catalogs"."watched_through" is not null;--> statement-breakpoint
-- Of all organisations: the services whose own document is due to be compared, through a connection of this
-- environment. To claim one is to make it due again tomorrow: no other replica compares it as well.
CREATE FUNCTION claim_due_catalogs(wanted text, now timestamptz, most integer)
RETURNS TABLE (org_id text, slug text, connection_id text)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
  WITH due AS (
    SELECT g.org_id, g.slug
    FROM catalogs g
    JOIN connections c ON c.org_id = g.org_id AND c.id = g.watched_through AND c.environment = wanted
    WHERE g.next_check_at <= now
    ORDER BY g.next_check_at
    LIMIT most
    FOR UPDATE OF g SKIP LOCKED
  )
  UPDATE catalogs g
  SET next_check_at = now + interval '23 hours 30 minutes' + random() * interval '1 hour'
  FROM due
  WHERE g.org_id = due.org_id AND g.slug = due.slug
  RETURNING g.org_id, g.slug, g.watched_through
$$;
--> statement-breakpoint
-- Of all organisations: imports whose process ended before they were ready. Nothing refers to them.
CREATE FUNCTION delete_abandoned_imports(begun_before timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
  DELETE FROM catalog_revisions WHERE NOT ready AND created_at < begun_before
$$;
--> statement-breakpoint
REVOKE EXECUTE ON FUNCTION claim_due_catalogs(text, timestamptz, integer), delete_abandoned_imports(timestamptz)
FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION claim_due_catalogs(text, timestamptz, integer), delete_abandoned_imports(timestamptz)
TO patchbay_app;
