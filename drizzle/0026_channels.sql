SELECT protect_table('channels'), protect_table('channel_secrets'), protect_table('channel_sources');
--> statement-breakpoint
-- What a sender's request is taken by. The channel is all that a sender names, so its organisation is not known before.
-- One row for each secret that may still be good, and one without a secret if there is none.
CREATE FUNCTION find_receiving_channel(channel text, served text, at timestamptz) RETURNS TABLE (
  org_id text, kind text, config json, segment_hash bytea,
  version integer, sealed bytea, kek_version integer, wrapped_key bytea, valid_until timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
  SELECT c.org_id, c.kind, c.config, c.segment_hash, s.version, s.sealed, s.kek_version, k.wrapped_key, s.valid_until
  FROM channels c
  LEFT JOIN channel_secrets s ON s.org_id = c.org_id AND s.channel_id = c.id
    AND (s.valid_until IS NULL OR s.valid_until > at)
  LEFT JOIN org_keys k ON k.org_id = c.org_id AND k.purpose = 'kek' AND k.version = s.kek_version
  WHERE c.id = channel AND c.environment = served AND c.kind IN ('webhook', 'cloudevents')
  ORDER BY s.version DESC
$$;
--> statement-breakpoint
-- Not when it is made: an id of 80 random bits cannot have been asked for before.
CREATE FUNCTION announce_channel() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  PERFORM announce('channel/' || OLD.org_id || '/' || OLD.id);
  RETURN NULL;
END
$$;
--> statement-breakpoint
CREATE TRIGGER announce_channel AFTER UPDATE OR DELETE ON channels
  FOR EACH ROW EXECUTE FUNCTION announce_channel();
--> statement-breakpoint
CREATE FUNCTION announce_channel_of_secret() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  PERFORM announce('channel/' || NEW.org_id || '/' || NEW.channel_id);
  RETURN NULL;
END
$$;
--> statement-breakpoint
CREATE TRIGGER announce_channel AFTER INSERT OR UPDATE ON channel_secrets
  FOR EACH ROW EXECUTE FUNCTION announce_channel_of_secret();
--> statement-breakpoint
-- Claims sources that are due, of all organisations. A claim has a name of its own, so whoever had it before and comes
-- back late can write nothing, even if that was the same replica. The channel is locked with its source: one that was
-- changed while this looked would be read as it was before, from a claim made after the change.
CREATE FUNCTION claim_due_sources(wanted text, at timestamptz, most integer)
RETURNS TABLE (
  org_id text, channel_id text, lease text, config json, connection_id text, base_url text,
  source_position json, failures integer
)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
  WITH due AS (
    SELECT s.org_id, s.channel_id, c.config, c.connection_id
    FROM channel_sources s
    JOIN channels c ON c.org_id = s.org_id AND c.id = s.channel_id
    WHERE s.due_at <= at AND (s.lease IS NULL OR s.lease_until <= at)
      AND c.state = 'active' AND c.environment = wanted
    ORDER BY s.due_at
    LIMIT most
    FOR UPDATE OF s SKIP LOCKED
    FOR SHARE OF c SKIP LOCKED
  ), claimed AS (
    UPDATE channel_sources s
    SET lease = gen_random_uuid()::text, lease_until = at + interval '30 seconds', waits_for = NULL
    FROM due
    WHERE s.org_id = due.org_id AND s.channel_id = due.channel_id
    RETURNING s.org_id, s.channel_id, s.lease, due.config, due.connection_id, s.position, s.failures
  )
  SELECT s.org_id, s.channel_id, s.lease, s.config, s.connection_id, n.base_url, s.position, s.failures
  FROM claimed s
  LEFT JOIN connections n ON n.org_id = s.org_id AND n.id = s.connection_id
$$;
--> statement-breakpoint
-- Renews leases before they end, and answers which of them still hold, with the base URL of the connection while that
-- may be used. A row that is being written right now is renewed the next time: waiting for it could be a wait in a ring.
CREATE FUNCTION hold_sources(held text[], at timestamptz) RETURNS TABLE (lease text, base_url text)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
  WITH ending AS (
    SELECT s.org_id, s.channel_id FROM channel_sources s
    WHERE s.lease = ANY (held) AND s.lease_until < at + interval '20 seconds'
    FOR UPDATE SKIP LOCKED
  ), renewed AS (
    UPDATE channel_sources s SET lease_until = at + interval '30 seconds'
    FROM ending
    WHERE s.org_id = ending.org_id AND s.channel_id = ending.channel_id
  )
  SELECT s.lease, n.base_url
  FROM channel_sources s
  JOIN channels c ON c.org_id = s.org_id AND c.id = s.channel_id
  JOIN connections n ON n.org_id = c.org_id AND n.id = c.connection_id AND n.active AND n.visibility = 'org'
  WHERE s.lease = ANY (held) AND c.state = 'active'
$$;
--> statement-breakpoint
-- Moves the position of a source, for whoever holds it, and says which events it may have missed. False if the lease is
-- over or the channel is not read any more: then nothing of the transaction may be committed.
CREATE FUNCTION advance_source(
  org text, channel text, held text, new_position json, at timestamptz, missed json
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
BEGIN
  UPDATE channel_sources s
  SET position = new_position, last_read_at = at, failures = 0, last_error = NULL, last_error_at = NULL
  WHERE s.org_id = org AND s.channel_id = channel AND s.lease = held
    AND EXISTS (SELECT FROM channels c WHERE c.org_id = org AND c.id = channel AND c.state = 'active');
  IF NOT FOUND THEN RETURN false; END IF;
  IF missed IS NOT NULL THEN PERFORM append_own_event(org, 'channel.gap', channel, missed, at); END IF;
  RETURN true;
END
$$;
--> statement-breakpoint
-- Gives a source back: when it is read next, and how it went. `blocked_by` stops it until a person resumes it.
CREATE FUNCTION settle_source(
  org text, channel text, held text, next_due timestamptz, at timestamptz, failed_by text, waiting_for text,
  blocked_by text
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
BEGIN
  -- Whoever changes a channel locks it before its source.
  IF blocked_by IS NOT NULL THEN
    PERFORM FROM channels c WHERE c.org_id = org AND c.id = channel FOR UPDATE;
  END IF;
  UPDATE channel_sources s
  SET lease = NULL, lease_until = NULL, due_at = next_due, waits_for = waiting_for,
      failures = CASE WHEN failed_by IS NOT NULL THEN s.failures + 1 WHEN waiting_for IS NOT NULL THEN s.failures ELSE 0 END,
      last_error = CASE WHEN waiting_for IS NOT NULL THEN s.last_error ELSE failed_by END,
      last_error_at = CASE WHEN waiting_for IS NOT NULL THEN s.last_error_at WHEN failed_by IS NOT NULL THEN at END
  WHERE s.org_id = org AND s.channel_id = channel AND s.lease = held;
  IF NOT FOUND OR blocked_by IS NULL THEN RETURN; END IF;
  UPDATE channels c SET state = 'blocked', state_reason = blocked_by, version = c.version + 1, updated_at = at
  WHERE c.org_id = org AND c.id = channel AND c.state = 'active';
  IF FOUND THEN
    PERFORM append_own_event(org, 'channel.blocked', channel, json_build_object('channel', channel, 'reason', blocked_by), at);
  END IF;
END
$$;
--> statement-breakpoint
REVOKE EXECUTE ON FUNCTION
  find_receiving_channel(text, text, timestamptz),
  claim_due_sources(text, timestamptz, integer),
  hold_sources(text[], timestamptz),
  advance_source(text, text, text, json, timestamptz, json),
  settle_source(text, text, text, timestamptz, timestamptz, text, text, text)
FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION
  find_receiving_channel(text, text, timestamptz),
  claim_due_sources(text, timestamptz, integer),
  hold_sources(text[], timestamptz),
  advance_source(text, text, text, json, timestamptz, json),
  settle_source(text, text, text, timestamptz, timestamptz, text, text, text)
TO patchbay_app;
