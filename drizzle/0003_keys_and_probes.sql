SELECT
  protect_table('org_keys'),
  protect_table('api_keys'),
  protect_table('api_key_secrets'),
  protect_table('api_key_usage'),
  protect_table('connections'),
  protect_table('credentials'),
  protect_table('connection_usage'),
  protect_table('connection_health');
--> statement-breakpoint
-- Locking a row takes the right to update it; what is never locked or changed needs neither.
REVOKE UPDATE, DELETE ON orgs, org_keys, api_key_secrets FROM patchbay_app;
--> statement-breakpoint
REVOKE DELETE ON api_keys, api_key_usage FROM patchbay_app;
--> statement-breakpoint
-- Belongs to the deployment, not to an organisation. What it holds is wrapped by the root key; it is read by
-- every replica at its start, written once, and never changed by the service.
GRANT SELECT, INSERT ON service_keys TO patchbay_app;
--> statement-breakpoint
-- What a presented secret was issued for. Its organisation is not known before, so this looks past row
-- security: for one exact hash, which nobody can make without the pepper and the secret.
CREATE FUNCTION find_api_key(presented bytea)
RETURNS TABLE (
  org_id text, key_id text, name text, environment text, scopes text[], active_user_id text,
  expires_at timestamptz, revoked_at timestamptz
) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
  SELECT k.org_id, k.id, k.name, k.environment, k.scopes, u.id, k.expires_at, k.revoked_at
  FROM api_key_secrets s
  JOIN api_keys k ON k.org_id = s.org_id AND k.id = s.key_id
  LEFT JOIN users u ON u.org_id = k.org_id AND u.id = k.act_as_user_id AND u.status = 'active'
  WHERE s.secret_hash = presented
$$;
--> statement-breakpoint
-- Whether nobody has a key for this environment yet. Holds a lock to the end of the transaction, so that of
-- replicas that start together on an empty database only one makes the first key.
CREATE FUNCTION begin_first_start(wanted text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('patchbay first start', 0));
  RETURN NOT EXISTS (SELECT FROM api_keys WHERE environment = wanted);
END
$$;
--> statement-breakpoint
-- Claims connections that are due for a probe, of all organisations, by pushing their next due time to 60
-- seconds (± 10 %) from now. Inactive ones are pushed too, but not answered.
CREATE FUNCTION claim_due_probes(wanted text, now timestamptz, most integer)
RETURNS TABLE (org_id text, connection_id text, base_url text)
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
  SELECT c.org_id, c.id, c.base_url
  FROM claimed
  JOIN connections c ON c.org_id = claimed.org_id AND c.id = claimed.connection_id
  WHERE c.active
$$;
--> statement-breakpoint
-- Records what probes found, of all organisations, and answers the connections whose last probe ended
-- otherwise than the one before. An older result never overwrites a newer one.
CREATE FUNCTION record_probes(found json)
RETURNS TABLE (org_id text, connection_id text, error text)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
  WITH result AS (
    SELECT * FROM json_to_recordset(found)
      AS r ("orgId" text, "connectionId" text, "baseUrl" text, at timestamptz, error text)
  ), before AS (
    SELECT h.org_id, h.connection_id, h.last_checked_at, h.last_error
    FROM connection_health h
    JOIN result ON h.org_id = "orgId" AND h.connection_id = "connectionId"
    JOIN connections c ON c.org_id = "orgId" AND c.id = "connectionId" AND c.base_url = "baseUrl"
    ORDER BY h.org_id, h.connection_id
    FOR UPDATE OF h
  ), recorded AS (
    UPDATE connection_health h
    SET last_checked_at = result.at,
        last_error = result.error,
        last_healthy_at = CASE WHEN result.error IS NULL
          THEN greatest(h.last_healthy_at, result.at) ELSE h.last_healthy_at END
    FROM result
    JOIN before ON before.org_id = "orgId" AND before.connection_id = "connectionId"
    WHERE h.org_id = "orgId" AND h.connection_id = "connectionId"
      AND (h.last_checked_at IS NULL OR h.last_checked_at <= result.at)
    RETURNING h.org_id, h.connection_id, h.last_error, before.last_error AS earlier,
      before.last_checked_at IS NOT NULL AS known
  )
  SELECT r.org_id, r.connection_id, r.last_error
  FROM recorded r
  WHERE (r.last_error IS NULL) <> (r.earlier IS NULL) AND (r.known OR r.last_error IS NOT NULL)
$$;
--> statement-breakpoint
REVOKE EXECUTE ON FUNCTION
  find_api_key(bytea), begin_first_start(text), claim_due_probes(text, timestamptz, integer), record_probes(json)
FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION
  find_api_key(bytea), begin_first_start(text), claim_due_probes(text, timestamptz, integer), record_probes(json)
TO patchbay_app;
