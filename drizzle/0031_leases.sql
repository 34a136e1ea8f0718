-- Leases of sources and webhook endpoints go by the clock of the database, which all replicas share: a replica whose
-- clock is ahead takes none away from another, and if it dies, its own are over within half a minute. One that ends later
-- than any could was written by another clock.
CREATE FUNCTION lease_is_over(until timestamptz) RETURNS boolean
LANGUAGE sql
AS $$
  SELECT until IS NULL OR until NOT BETWEEN clock_timestamp() AND clock_timestamp() + interval '1 minute'
$$;
--> statement-breakpoint
-- Each of these functions is as before but for that.
CREATE OR REPLACE FUNCTION claim_due_sources(wanted text, at timestamptz, most integer)
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
    WHERE s.due_at <= at AND lease_is_over(s.lease_until)
      AND c.state = 'active' AND c.environment = wanted
    ORDER BY s.due_at
    LIMIT most
    FOR UPDATE OF s SKIP LOCKED
    FOR SHARE OF c SKIP LOCKED
  ), claimed AS (
    UPDATE channel_sources s
    SET lease = gen_random_uuid()::text, lease_until = clock_timestamp() + interval '30 seconds', waits_for = NULL
    FROM due
    WHERE s.org_id = due.org_id AND s.channel_id = due.channel_id
    RETURNING s.org_id, s.channel_id, s.lease, due.config, due.connection_id, s.position, s.failures
  )
  SELECT s.org_id, s.channel_id, s.lease, s.config, s.connection_id, n.base_url, s.position, s.failures
  FROM claimed s
  LEFT JOIN connections n ON n.org_id = s.org_id AND n.id = s.connection_id
$$;
--> statement-breakpoint
CREATE OR REPLACE FUNCTION hold_sources(held text[], at timestamptz) RETURNS TABLE (lease text, base_url text)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
  WITH ending AS (
    SELECT s.org_id, s.channel_id FROM channel_sources s
    WHERE s.lease = ANY (held) AND s.lease_until < clock_timestamp() + interval '20 seconds'
    FOR UPDATE SKIP LOCKED
  ), renewed AS (
    UPDATE channel_sources s SET lease_until = clock_timestamp() + interval '30 seconds'
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
CREATE OR REPLACE FUNCTION claim_due_webhooks(
  in_environment text, moment timestamptz, claimant text, most integer, most_of_one integer, full_orgs text[]
) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
  SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  wanted_orgs text[];
  wanted_ids text[];
BEGIN
  SELECT array_agg(r.org_id ORDER BY r.rank, r.due_at), array_agg(r.id ORDER BY r.rank, r.due_at)
  INTO wanted_orgs, wanted_ids
  FROM (
    SELECT f.*, row_number() OVER (PARTITION BY f.org_id ORDER BY f.due_at) AS rank
    FROM (
      SELECT e.org_id, e.id, e.due_at FROM webhook_endpoints e
      WHERE e.due_at <= moment AND e.environment = in_environment AND e.state <> 'paused'
        AND lease_is_over(e.lease_until) AND e.org_id <> ALL (full_orgs)
      ORDER BY e.due_at LIMIT most * 4
    ) f
  ) r
  WHERE r.rank <= most_of_one;

  RETURN QUERY
  WITH claimed AS (
    SELECT e.org_id, e.id
    FROM unnest(wanted_orgs, wanted_ids) WITH ORDINALITY AS w (org_id, id, n)
    JOIN webhook_endpoints e ON e.org_id = w.org_id AND e.id = w.id
    -- Asked again of the locked row, and so that the index of what is due is of no use: statistics think that little is
    -- due at any time, and each of many endpoints would be compared with all.
    WHERE coalesce(e.due_at, 'infinity') <= moment AND e.state <> 'paused'
      AND lease_is_over(e.lease_until)
    ORDER BY w.n LIMIT most
    FOR UPDATE OF e SKIP LOCKED
  ), leased AS (
    UPDATE webhook_endpoints e
    SET lease_owner = claimant, lease_until = clock_timestamp() + interval '30 seconds',
      -- Whichever clock is ahead, it is due to all others when the lease ends.
      due_at = least(moment, clock_timestamp()) + interval '30 seconds'
    FROM claimed c WHERE e.org_id = c.org_id AND e.id = c.id
    RETURNING e.*
  )
  SELECT json_build_object(
    'orgId', e.org_id, 'id', e.id, 'version', e.version, 'url', e.url, 'types', e.types, 'pausedTypes', e.paused_types,
    'ordering', e.ordering, 'afterSchedule', e.after_schedule, 'body', e.body, 'contentType', e.content_type,
    'maxInFlight', e.max_in_flight, 'perSecond', e.per_second, 'keepSuccesses', e.keep_successes, 'state', e.state,
    'failures', e.failures, 'failingSince', e.failing_since, 'lastFailureAt', e.last_failure_at,
    'headers', CASE WHEN e.sealed_headers IS NOT NULL THEN json_build_object(
      'version', e.headers_version, 'kekVersion', e.headers_kek_version, 'sealed', encode(e.sealed_headers, 'base64'),
      'wrapped', (SELECT encode(k.wrapped_key, 'base64') FROM org_keys k
        WHERE k.org_id = e.org_id AND k.purpose = 'kek' AND k.version = e.headers_kek_version)
    ) END,
    'secrets', (
      SELECT json_agg(json_build_object(
        'version', s.version, 'kekVersion', s.kek_version, 'sealed', encode(s.sealed, 'base64'),
        'wrapped', encode(k.wrapped_key, 'base64')
      ) ORDER BY s.version DESC)
      FROM webhook_secrets s
      LEFT JOIN org_keys k ON k.org_id = s.org_id AND k.purpose = 'kek' AND k.version = s.kek_version
      WHERE s.org_id = e.org_id AND s.endpoint_id = e.id AND (s.valid_until IS NULL OR s.valid_until > moment)
    ),
    'behind', (SELECT json_agg(b) FROM webhook_behind(e.*::webhook_endpoints) b),
    -- One that fails is tried with one event.
    'parked', (
      SELECT json_agg(json_build_object(
        'log', p.log, 'seq', p.seq, 'previous', p.previous, 'subject', p.subject, 'attempts', p.attempts,
        'redelivery', p.redelivery, 'webhookId', p.webhook_id, 'parkedAt', p.parked_at
      ))
      FROM (
        SELECT n.* FROM webhook_next(e.*::webhook_endpoints) n WHERE e.state = 'failing' OR n.next_try_at <= moment
        ORDER BY n.redelivery DESC, n.parked_at, n.seq LIMIT CASE e.state WHEN 'failing' THEN 1 ELSE 50 END
      ) p
    ),
    'blocked', CASE e.ordering WHEN 'subject' THEN (
      SELECT json_agg(DISTINCT p.log || ' ' || p.subject) FROM webhook_parked p
      WHERE p.org_id = e.org_id AND p.endpoint_id = e.id AND p.dead_at IS NULL AND NOT p.redelivery
    ) END
  )::text
  FROM leased e;
END
$$;
