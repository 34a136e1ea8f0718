ALTER TABLE "oauth_flows" ADD COLUMN "poll_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "oauth_flows" ADD COLUMN "poll_seconds" integer;--> statement-breakpoint
ALTER TABLE "oauth_grants" ADD COLUMN "failure" text;--> statement-breakpoint
-- No release has this table: there are no rows yet to wait for.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX "oauth_flows_poll" ON "oauth_flows" USING btree ("poll_at");--> statement-breakpoint
-- A browser that opens a link, or comes back from a service, has no key that would say its organisation. What is asked
-- for twice is answered once: of two browsers with one link, or one state, the second finds nothing.
CREATE FUNCTION take_oauth_flow(wanted_hash bytea, wanted_stage text) RETURNS SETOF oauth_flows
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
  DELETE FROM oauth_flows WHERE token_hash = wanted_hash AND stage = wanted_stage RETURNING *
$$;
--> statement-breakpoint
CREATE FUNCTION find_oauth_flow(wanted_hash bytea, wanted_stage text) RETURNS SETOF oauth_flows
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
  SELECT * FROM oauth_flows WHERE token_hash = wanted_hash AND stage = wanted_stage
$$;
--> statement-breakpoint
-- Grants that end when they are not used, and nobody used. Claiming is pushing the time: if this replica dies before it
-- refreshes, or the refresh fails, it is due again an hour later. A refresh that succeeds sets the time anew.
CREATE FUNCTION claim_oauth_keep_alives(wanted text, now timestamptz, most integer)
RETURNS TABLE (org_id text, connection_id text)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
  WITH due AS (
    SELECT g.org_id, g.connection_id
    FROM oauth_grants g
    JOIN connections c ON c.org_id = g.org_id AND c.id = g.connection_id
      AND c.environment = wanted AND c.active AND c.status IN ('ACTIVE', 'REFRESH_IN_DOUBT')
    WHERE g.keep_alive_at <= now
    ORDER BY g.keep_alive_at
    LIMIT most
    FOR UPDATE OF g SKIP LOCKED
  )
  UPDATE oauth_grants g SET keep_alive_at = now + interval '1 hour'
  FROM due
  WHERE g.org_id = due.org_id AND g.connection_id = due.connection_id
  RETURNING g.org_id, g.connection_id
$$;
--> statement-breakpoint
-- Device codes about which their service is to be asked again.
CREATE FUNCTION claim_oauth_polls(wanted text, now timestamptz, most integer) RETURNS SETOF oauth_flows
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
  WITH due AS (
    SELECT f.org_id, f.token_hash
    FROM oauth_flows f
    JOIN connections c ON c.org_id = f.org_id AND c.id = f.connection_id AND c.environment = wanted
    WHERE f.stage = 'device' AND f.poll_at <= now
    ORDER BY f.poll_at
    LIMIT most
    FOR UPDATE OF f SKIP LOCKED
  )
  -- Not before the answer to this question can have come.
  UPDATE oauth_flows f SET poll_at = now + interval '30 seconds'
  FROM due
  WHERE f.org_id = due.org_id AND f.token_hash = due.token_hash
  RETURNING f.*
$$;
--> statement-breakpoint
REVOKE EXECUTE ON FUNCTION
  take_oauth_flow(bytea, text), find_oauth_flow(bytea, text),
  claim_oauth_keep_alives(text, timestamptz, integer), claim_oauth_polls(text, timestamptz, integer)
FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION
  take_oauth_flow(bytea, text), find_oauth_flow(bytea, text),
  claim_oauth_keep_alives(text, timestamptz, integer), claim_oauth_polls(text, timestamptz, integer)
TO patchbay_app;
--> statement-breakpoint
-- A connection may be called through before it has a credential: of an OAuth client itself, the first call gets it. That
-- it has none is remembered, and old from then on.
CREATE FUNCTION announce_connection_of_new_credential() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  PERFORM announce('connection/' || NEW.org_id || '/' || NEW.connection_id);
  RETURN NULL;
END
$$;
--> statement-breakpoint
CREATE TRIGGER announce_new_credential AFTER INSERT ON credentials
  FOR EACH ROW EXECUTE FUNCTION announce_connection_of_new_credential();
