-- A credential is for the base URL that it was stored with, and not for all of its origin.
-- No release has this column.
-- squawk-ignore renaming-column
ALTER TABLE credentials RENAME COLUMN origin TO bound_to;
--> statement-breakpoint
UPDATE credentials SET bound_to = c.base_url
FROM connections c WHERE c.org_id = credentials.org_id AND c.id = connection_id;
--> statement-breakpoint
-- Records what probes found, of all organisations, and answers the connections whose last probe ended
-- otherwise than the one before. An older result never overwrites a newer one, and the result of a base URL that was
-- replaced meanwhile says nothing of the connection.
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
      AS r ("orgId" text, "connectionId" text, "baseUrl" text, at timestamptz, error text)
    JOIN connections c ON c.org_id = "orgId" AND c.id = "connectionId" AND c.base_url = "baseUrl"
    JOIN connection_health h ON h.org_id = "orgId" AND h.connection_id = "connectionId"
  ), recorded AS (
    UPDATE connection_health h
    SET last_checked_at = result.at,
        last_error = result.error,
        last_healthy_at = CASE WHEN result.error IS NULL
          THEN greatest(h.last_healthy_at, result.at) ELSE h.last_healthy_at END
    FROM result
    WHERE h.org_id = "orgId" AND h.connection_id = "connectionId"
      AND (h.last_checked_at IS NULL OR h.last_checked_at <= result.at)
    RETURNING h.org_id, h.connection_id, h.last_error, result.earlier, result.known
  )
  SELECT r.org_id, r.connection_id, r.last_error
  FROM recorded r
  WHERE (r.last_error IS NULL) <> (r.earlier IS NULL) AND (r.known OR r.last_error IS NOT NULL);
END
$$;
