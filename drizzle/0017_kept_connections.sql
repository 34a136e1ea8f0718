ALTER TABLE "connection_health" ADD COLUMN "last_error_stage" text;--> statement-breakpoint
ALTER TABLE "connection_health" ADD COLUMN "last_error_at" timestamp (3) with time zone;--> statement-breakpoint
-- No release has this table: there are no rows yet.
-- squawk-ignore adding-required-field
ALTER TABLE "fallback_credentials" ADD COLUMN "bound_to" text NOT NULL;--> statement-breakpoint
ALTER TABLE "fallback_credentials" ADD COLUMN "recipe" json;--> statement-breakpoint
-- squawk-ignore adding-required-field
ALTER TABLE "fallback_credentials" ADD COLUMN "params" json NOT NULL;--> statement-breakpoint
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX "fallback_credentials_expiry" ON "fallback_credentials" USING btree ("valid_until");--> statement-breakpoint
DROP FUNCTION claim_due_probes(text, timestamptz, integer);
--> statement-breakpoint
-- Says also which connections are probed with their credential: those whose integration declares a probe that may be
-- made every minute, while the credential is good. Whoever probes the others needs to read nothing more of them.
CREATE FUNCTION claim_due_probes(wanted text, now timestamptz, most integer)
RETURNS TABLE (org_id text, connection_id text, base_url text, declared boolean)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
  WITH due AS (
    SELECT h.org_id, h.connection_id
    FROM connection_health h
    JOIN connections c ON c.org_id = h.org_id AND c.id = h.connection_id AND c.environment = wanted
    WHERE h.next_due_at <= now
    ORDER BY h.next_due_at
    LIMIT most
    FOR UPDATE OF h SKIP LOCKED
  ), claimed AS (
    UPDATE connection_health h
    SET next_due_at = now + interval '54 seconds' + random() * interval '12 seconds'
    FROM due
    WHERE h.org_id = due.org_id AND h.connection_id = due.connection_id
    RETURNING h.org_id, h.connection_id
  )
  SELECT c.org_id, c.id, c.base_url,
    c.status = 'ACTIVE' AND c.recipe -> 'probe' IS NOT NULL
      AND coalesce(c.recipe -> 'probe' ->> 'onDemandOnly', 'false') <> 'true'
  FROM claimed
  JOIN connections c ON c.org_id = claimed.org_id AND c.id = claimed.connection_id
  WHERE c.active
$$;
--> statement-breakpoint
-- As before, with the stage at which a probe failed.
CREATE OR REPLACE FUNCTION record_probes(found json)
RETURNS TABLE (org_id text, connection_id text, error text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  -- By its own name, `found`, it would be that of every plpgsql function.
  outcomes ALIAS FOR $1;
BEGIN
  -- In a statement of its own: whoever replaces a base URL writes this row too, so the next statement sees the base
  -- URL of the one that this waited for. In one order, or two replicas could lock each other out.
  PERFORM FROM connection_health h
  JOIN json_to_recordset(outcomes) AS r ("orgId" text, "connectionId" text)
    ON h.org_id = "orgId" AND h.connection_id = "connectionId"
  ORDER BY h.org_id, h.connection_id
  FOR UPDATE OF h;

  RETURN QUERY
  WITH result AS (
    SELECT r.*, h.last_error AS earlier, h.last_checked_at IS NOT NULL AS known
    FROM json_to_recordset(outcomes)
      AS r ("orgId" text, "connectionId" text, "baseUrl" text, at timestamptz, stage text, error text)
    JOIN connections c ON c.org_id = "orgId" AND c.id = "connectionId" AND c.base_url = "baseUrl"
    JOIN connection_health h ON h.org_id = "orgId" AND h.connection_id = "connectionId"
  ), recorded AS (
    UPDATE connection_health h
    SET last_checked_at = result.at,
        last_error = result.error,
        last_error_stage = result.stage,
        last_error_at = CASE WHEN result.error IS NOT NULL THEN result.at END,
        last_healthy_at = CASE WHEN result.error IS NULL
          THEN greatest(h.last_healthy_at, result.at) ELSE h.last_healthy_at END
    FROM result
    WHERE h.org_id = "orgId" AND h.connection_id = "connectionId"
      AND (h.last_checked_at IS NULL OR h.last_checked_at <= result.at)
    RETURNING h.org_id, h.connection_id, h.last_error, h.last_error_stage, result.earlier, result.known
  )
  SELECT r.org_id, r.connection_id, CASE WHEN r.last_error IS NOT NULL THEN concat_ws(': ', r.last_error_stage, r.last_error) END
  FROM recorded r
  WHERE (r.last_error IS NULL) <> (r.earlier IS NULL) AND (r.known OR r.last_error IS NOT NULL);
END
$$;
--> statement-breakpoint
-- Of all organisations: a fallback that is over is not used, and need not be kept.
CREATE FUNCTION erase_fallback_credentials(now timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
  DELETE FROM fallback_credentials WHERE valid_until <= now
$$;
--> statement-breakpoint
REVOKE EXECUTE ON FUNCTION claim_due_probes(text, timestamptz, integer), erase_fallback_credentials(timestamptz)
FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION claim_due_probes(text, timestamptz, integer), erase_fallback_credentials(timestamptz)
TO patchbay_app;
