ALTER TABLE "catalogs" ADD COLUMN "definition" json;
--> statement-breakpoint
-- Also those whose connection is deleted, in whatever environment it was: whoever claims one ends the comparison.
CREATE OR REPLACE FUNCTION claim_due_catalogs(wanted text, now timestamptz, most integer)
RETURNS TABLE (org_id text, slug text, connection_id text)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
  WITH due AS (
    SELECT g.org_id, g.slug
    FROM catalogs g
    LEFT JOIN connections c ON c.org_id = g.org_id AND c.id = g.watched_through
    WHERE g.watched_through IS NOT NULL AND g.next_check_at <= now AND coalesce(c.environment, wanted) = wanted
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
