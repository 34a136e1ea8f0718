SELECT protect_table('webhook_endpoints'), protect_table('webhook_secrets'), protect_table('webhook_cursors'),
  protect_table('webhook_parked'), protect_table('webhook_attempts');
--> statement-breakpoint
-- A cursor moves with each turn, in place as long as there is room beside it.
ALTER TABLE webhook_cursors SET (fillfactor = 60);
--> statement-breakpoint
-- Only settle_webhooks writes it.
REVOKE INSERT, UPDATE, DELETE ON webhook_attempts FROM patchbay_app;
--> statement-breakpoint
-- What decides which types of events the owner of an endpoint may read, so that a change of it is seen. A key that is over
-- is like any other one that is.
CREATE FUNCTION webhook_owner_rights(k api_keys, moment timestamptz) RETURNS text
LANGUAGE sql STABLE
AS $$
  SELECT CASE
    WHEN k.id IS NULL OR k.revoked_at IS NOT NULL OR k.expires_at <= moment THEN 'ended'
    ELSE md5(json_build_array(k.scopes, k.connections)::text)
  END
$$;
--> statement-breakpoint
-- Endpoints whose owner's rights are not those that were looked at last, of all organisations.
CREATE FUNCTION webhooks_to_review(in_environment text, moment timestamptz, most integer)
RETURNS TABLE (org_id text, id text, rights text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
  -- Once for each owner, who may have many endpoints.
  WITH owners AS MATERIALIZED (
    SELECT o.org_id, o.owner_key_id, webhook_owner_rights(k, moment) AS rights
    FROM (SELECT DISTINCT e.org_id, e.owner_key_id FROM webhook_endpoints e WHERE e.environment = in_environment) o
    LEFT JOIN api_keys k ON k.org_id = o.org_id AND k.id = o.owner_key_id
  )
  SELECT e.org_id, e.id, o.rights
  FROM webhook_endpoints e JOIN owners o ON o.org_id = e.org_id AND o.owner_key_id = e.owner_key_id
  WHERE e.environment = in_environment AND e.owner_rights IS DISTINCT FROM o.rights
  LIMIT most
$$;
--> statement-breakpoint
-- Whether types can select anything of the log, as `selectedType` does. What a channel received is selected by
-- channel:<id>/… only.
CREATE FUNCTION webhook_reads(types text[], paused text[], log text) RETURNS boolean
LANGUAGE sql IMMUTABLE
AS $$
  SELECT EXISTS (
    SELECT FROM unnest(types) AS t (pattern), LATERAL (
      SELECT rtrim(pattern, '*') AS text, pattern LIKE '%*' AS is_open, 'channel:' || log || '/' AS channel
    ) p
    WHERE pattern <> ALL (paused) AND CASE
      WHEN log IN ('audit', 'service') THEN NOT starts_with(p.text, 'channel:')
      ELSE starts_with(p.text, p.channel) OR (p.is_open AND starts_with(p.channel, p.text))
    END
  )
$$;
--> statement-breakpoint
-- Where the logs end that endpoints of the environment read.
CREATE FUNCTION webhook_heads(in_environment text) RETURNS TABLE (org_id text, log text, seq bigint)
LANGUAGE sql STABLE
AS $$
  SELECT h.org_id, 'audit', h.seq FROM audit_heads h
  UNION ALL
  SELECT h.org_id, h.log, h.seq FROM log_heads h
  LEFT JOIN channels c ON c.org_id = h.org_id AND c.id = h.log
  WHERE c.environment IS NULL OR c.environment = in_environment
$$;
--> statement-breakpoint
CREATE FUNCTION webhook_is_read(e webhook_endpoints, log text) RETURNS boolean
LANGUAGE sql STABLE
AS $$
  SELECT webhook_reads(e.types, e.paused_types, log) AND NOT (e.ordering = 'log' AND EXISTS (
    SELECT FROM webhook_parked p
    WHERE p.org_id = e.org_id AND p.endpoint_id = e.id AND p.log = webhook_is_read.log AND p.dead_at IS NULL AND NOT p.redelivery
  ))
$$;
--> statement-breakpoint
-- Whether the endpoint reads the log on: not where all waits for one event, or all types are paused.
CREATE FUNCTION webhook_reads_on(e webhook_endpoints, log text) RETURNS boolean
LANGUAGE sql STABLE
AS $$
  SELECT CASE WHEN e.paused_types = '{}' AND e.ordering <> 'log' THEN true ELSE webhook_is_read(e, log) END
$$;
--> statement-breakpoint
-- The logs in which there is something behind the endpoint's cursor.
CREATE FUNCTION webhook_behind(e webhook_endpoints) RETURNS TABLE (log text, after bigint, previous bigint, head bigint)
LANGUAGE sql STABLE
AS $$
  SELECT h.log, c.seq, c.previous, h.seq
  FROM webhook_cursors c
  JOIN webhook_heads(e.environment) h ON h.org_id = c.org_id AND h.log = c.log
  WHERE c.org_id = e.org_id AND c.endpoint_id = e.id AND h.seq > c.seq
    AND webhook_reads_on(e, h.log)
$$;
--> statement-breakpoint
-- What failed, or waits for what failed, and need not wait for anything but its time.
CREATE FUNCTION webhook_next(e webhook_endpoints) RETURNS SETOF webhook_parked
LANGUAGE sql STABLE
AS $$
  SELECT p.* FROM webhook_parked p
  WHERE p.org_id = e.org_id AND p.endpoint_id = e.id AND p.dead_at IS NULL
    AND (p.redelivery OR e.ordering = 'none' OR NOT EXISTS (
      SELECT FROM webhook_parked q
      WHERE q.org_id = p.org_id AND q.endpoint_id = p.endpoint_id AND q.log = p.log AND q.seq < p.seq
        AND q.dead_at IS NULL AND NOT q.redelivery AND (e.ordering = 'log' OR q.subject = p.subject)
    ))
$$;
--> statement-breakpoint
-- As what a pattern names the type.
CREATE FUNCTION webhook_type(log text, type text) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$ SELECT CASE WHEN log IN ('audit', 'service') THEN type ELSE 'channel:' || log || '/' || type END $$;
--> statement-breakpoint
-- Whether the pattern may select events of the log with this type, or with any if it is null. It says yes wherever
-- `selectedType` does: whoever is wrongly left asleep misses an event. A record of the audit log may also be of a type of
-- the pattern's family, as its details say.
CREATE FUNCTION webhook_may_select(pattern text, log text, type text) RETURNS boolean
LANGUAGE sql IMMUTABLE
AS $$
  SELECT type IS NULL
    OR CASE WHEN pattern LIKE '%*' THEN starts_with(webhook_type(log, type), left(pattern, -1)) ELSE pattern = webhook_type(log, type) END
    OR (log = 'audit' AND starts_with(type, 'audit.' || rtrim(split_part(pattern, '.', 1), '*')))
$$;
--> statement-breakpoint
-- The types of a log's events between two numbers, each with its last number. Null stands for any: where there are many
-- events, or some are no longer there, they are not looked through.
CREATE FUNCTION webhook_types(org text, given_log text, after bigint, head bigint) RETURNS TABLE (type text, seq bigint)
LANGUAGE sql STABLE
AS $$
  WITH known AS (
    SELECT t.type, max(t.seq) AS seq, sum(t.events) AS events
    FROM log_days d, LATERAL (
      SELECT e.type, max(e.seq) AS seq, count(*) AS events FROM events e
      WHERE e.org_id = org AND e.log = given_log AND e.ends_on = d.ends_on AND e.seq > after AND e.seq <= head
      GROUP BY e.type
    ) t
    WHERE d.org_id = org AND d.log = given_log AND d.last_seq > after AND head - after <= 1000
    GROUP BY t.type
    UNION ALL
    SELECT 'audit.' || a.action, max(a.seq), count(*) FROM audit_events a
    WHERE given_log = 'audit' AND a.org_id = org AND a.seq > after AND a.seq <= head AND head - after <= 1000
    GROUP BY a.action
  )
  SELECT k.type, k.seq FROM known k
  UNION ALL
  SELECT NULL, head WHERE coalesce((SELECT sum(k.events) FROM known k), 0) < head - after
$$;
--> statement-breakpoint
-- Whether there may be something behind the endpoint's cursors that its types select.
CREATE FUNCTION webhook_has_news(e webhook_endpoints) RETURNS boolean
LANGUAGE sql STABLE
AS $$
  SELECT EXISTS (
    SELECT FROM webhook_behind(e) b, webhook_types(e.org_id, b.log, b.after, b.head) t, unnest(e.types) AS p (pattern)
    WHERE p.pattern <> ALL (e.paused_types) AND webhook_may_select(p.pattern, b.log, t.type)
  )
$$;
--> statement-breakpoint
-- Whether the endpoint waits for something to come.
CREATE FUNCTION webhook_is_idle(e webhook_endpoints, moment timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE
AS $$
  SELECT e.state = 'active' AND e.lease_owner IS NULL AND (e.due_at IS NULL OR e.due_at > greatest(moment, e.not_before))
$$;
--> statement-breakpoint
-- Makes endpoints due whose types may select what came in their logs. The cursors of the others move without a turn: not
-- with each event, but when all logs are looked at, or after many. Null stands for all organisations, and for all logs.
CREATE FUNCTION wake_webhooks(in_environment text, moment timestamptz, of_orgs text[], of_logs text[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
  SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
  woken integer;
BEGIN
  -- From the logs to the endpoints, which are many and mostly have nothing behind them. Each step goes on by a primary key:
  -- how many rows it has, no statistics know.
  WITH logs AS MATERIALIZED (
    SELECT h.org_id, h.log, h.seq AS head, (
      SELECT min(c.seq) FROM webhook_cursors c JOIN webhook_endpoints e ON e.org_id = c.org_id AND e.id = c.endpoint_id
      WHERE c.org_id = h.org_id AND c.log = h.log AND c.seq < h.seq
        AND webhook_is_idle(e, moment) AND e.environment = in_environment AND webhook_reads_on(e, h.log)
    ) AS after
    FROM webhook_heads(in_environment) h
    WHERE (of_orgs IS NULL OR h.org_id = ANY (of_orgs)) AND (of_logs IS NULL OR h.log = ANY (of_logs))
  ), news AS MATERIALIZED (
    SELECT l.org_id, l.log, l.head, n.types, n.seqs
    FROM logs l, LATERAL (
      SELECT array_agg(t.type) AS types, array_agg(t.seq) AS seqs FROM webhook_types(l.org_id, l.log, l.after, l.head) t
    ) n
    WHERE l.after IS NOT NULL
  ), seen AS MATERIALIZED (
    SELECT e.org_id, e.id, c.log, c.seq, n.head, EXISTS (
      SELECT FROM unnest(n.types, n.seqs) AS t (type, seq), unnest(e.types) AS p (pattern)
      WHERE t.seq > c.seq AND p.pattern <> ALL (e.paused_types) AND webhook_may_select(p.pattern, n.log, t.type)
    ) AS is_wanted
    FROM news n
    JOIN webhook_cursors c ON c.org_id = n.org_id AND c.log = n.log AND c.seq < n.head
    JOIN webhook_endpoints e ON e.org_id = c.org_id AND e.id = c.endpoint_id
    WHERE webhook_is_idle(e, moment) AND e.environment = in_environment AND webhook_reads_on(e, n.log)
  ), passed AS (
    -- One that was moved since is not where it was. None is waited for: turns that are settled lock in another order.
    SELECT c.org_id, c.endpoint_id, c.log, s.head
    FROM seen s JOIN webhook_cursors c ON c.org_id = s.org_id AND c.endpoint_id = s.id AND c.log = s.log
    WHERE NOT s.is_wanted AND c.seq = s.seq AND ((of_orgs IS NULL AND of_logs IS NULL) OR s.head - s.seq >= 100)
    FOR UPDATE OF c SKIP LOCKED
  ), moved AS (
    UPDATE webhook_cursors c SET seq = p.head
    FROM passed p WHERE c.org_id = p.org_id AND c.endpoint_id = p.endpoint_id AND c.log = p.log
  ), idle AS (
    -- One that another replica has locked is awake.
    SELECT e.org_id, e.id
    FROM (SELECT DISTINCT s.org_id, s.id FROM seen s WHERE s.is_wanted) w
    JOIN webhook_endpoints e ON e.org_id = w.org_id AND e.id = w.id
    WHERE webhook_is_idle(e, moment)
    FOR UPDATE OF e SKIP LOCKED
  )
  UPDATE webhook_endpoints e SET due_at = greatest(moment, e.not_before)
  FROM idle WHERE e.org_id = idle.org_id AND e.id = idle.id;
  GET DIAGNOSTICS woken = ROW_COUNT;
  RETURN woken;
END
$$;
--> statement-breakpoint
-- Claims endpoints that are due, of all organisations but the full ones, and answers all that a turn needs to know of
-- each. A claim is a lease of 30 seconds: whoever holds it alone sends, and if it dies the endpoint is due again.
CREATE FUNCTION claim_due_webhooks(
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
        AND (e.lease_until IS NULL OR e.lease_until <= moment) AND e.org_id <> ALL (full_orgs)
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
      AND (e.lease_until IS NULL OR e.lease_until <= moment)
    ORDER BY w.n LIMIT most
    FOR UPDATE OF e SKIP LOCKED
  ), leased AS (
    UPDATE webhook_endpoints e
    SET lease_owner = claimant, lease_until = moment + interval '30 seconds', due_at = moment + interval '30 seconds'
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
--> statement-breakpoint
-- Records what turns did, and ends their leases: of those that are still held, and whose endpoint nobody changed. Cursors
-- only move forward. Answers for which endpoints that was so; the others' turns are done again.
--
-- What belongs to the turns comes in lists of its own, each read once.
CREATE FUNCTION settle_webhooks(
  moment timestamptz, turns json, cursors json, done json, parked json, attempts json
) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
  SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  mine text[];
BEGIN
  -- In one order. A row that was waited for is looked at as it is then.
  SELECT coalesce(array_agg(l.id), '{}') INTO mine
  FROM (
    SELECT e.id FROM json_to_recordset(turns) AS t ("orgId" text, id text, owner text, version integer)
    JOIN webhook_endpoints e ON e.org_id = t."orgId" AND e.id = t.id
    WHERE e.lease_owner = t.owner AND e.version = t.version
    ORDER BY e.org_id, e.id FOR UPDATE OF e
  ) l;

  UPDATE webhook_cursors c SET seq = u.seq, previous = u.previous
  FROM json_to_recordset(cursors) AS u ("orgId" text, id text, log text, seq bigint, previous bigint)
  WHERE u.id = ANY (mine) AND c.org_id = u."orgId" AND c.endpoint_id = u.id AND c.log = u.log AND c.seq < u.seq;

  DELETE FROM webhook_parked p
  USING json_to_recordset(done) AS u ("orgId" text, id text, log text, seq bigint)
  WHERE u.id = ANY (mine) AND p.org_id = u."orgId" AND p.endpoint_id = u.id AND p.log = u.log AND p.seq = u.seq;

  INSERT INTO webhook_parked AS p (
    org_id, endpoint_id, log, seq, previous, subject, attempts, next_try_at, redelivery, webhook_id, last_status,
    last_stage, parked_at, dead_at
  )
  SELECT u."orgId", u.id, u.log, u.seq, u.previous, u.subject, u.attempts, u."nextTryAt", u.redelivery, u."webhookId",
    u.status, u.stage, u."parkedAt", CASE WHEN u."nextTryAt" IS NULL THEN moment END
  FROM json_to_recordset(parked) AS u (
    "orgId" text, id text, log text, seq bigint, previous bigint, subject text, attempts integer,
    "nextTryAt" timestamptz, redelivery boolean, "webhookId" text, status integer, stage text, "parkedAt" timestamptz
  )
  WHERE u.id = ANY (mine)
  ON CONFLICT (org_id, endpoint_id, log, seq) DO UPDATE
  SET attempts = excluded.attempts, next_try_at = excluded.next_try_at, dead_at = excluded.dead_at,
    last_status = excluded.last_status, last_stage = excluded.last_stage;

  -- Upkeep makes the days ahead. Should it not have come to it, this is the last moment.
  IF to_regclass('public.webhook_attempts_' || to_char(moment + interval '30 days', 'YYYYMMDD')) IS NULL THEN
    PERFORM keep_days(moment, '{}');
  END IF;
  INSERT INTO webhook_attempts (org_id, endpoint_id, at, ends_on, tries)
  SELECT u."orgId", u.id, u.at, (moment + interval '30 days')::date, u.tries
  FROM json_to_recordset(attempts) AS u ("orgId" text, id text, at timestamptz, tries json)
  WHERE u.id = ANY (mine);

  UPDATE webhook_endpoints e
  SET lease_owner = NULL, lease_until = NULL, not_before = t."notBefore", state = t.state, state_reason = t."stateReason", failures = t.failures,
    failing_since = t."failingSince", last_success_at = coalesce(t."lastSuccessAt", e.last_success_at),
    last_failure_at = coalesce(t."lastFailureAt", e.last_failure_at),
    due_at = CASE t.state WHEN 'paused' THEN NULL WHEN 'failing' THEN t."notBefore" ELSE greatest(
      least(
        CASE WHEN EXISTS (SELECT FROM webhook_behind(e.*::webhook_endpoints))
          THEN CASE WHEN webhook_has_news(e.*::webhook_endpoints) THEN moment END END,
        (SELECT min(n.next_try_at) FROM webhook_next(e.*::webhook_endpoints) n)
      ),
      t."notBefore"
    ) END
  FROM json_to_recordset(turns) AS t (
    "orgId" text, id text, state text, "stateReason" text, failures integer, "failingSince" timestamptz,
    "lastSuccessAt" timestamptz, "lastFailureAt" timestamptz, "notBefore" timestamptz
  )
  WHERE t.id = ANY (mine) AND e.org_id = t."orgId" AND e.id = t.id;

  RETURN QUERY SELECT unnest(mine);
  IF cardinality(mine) = json_array_length(turns) THEN RETURN; END IF;
  -- Changed meanwhile: what was sent may be sent again, as the endpoint is now.
  UPDATE webhook_endpoints e
  SET lease_owner = NULL, lease_until = NULL, due_at = CASE WHEN e.state <> 'paused' THEN moment END
  FROM json_to_recordset(turns) AS t ("orgId" text, id text, owner text)
  WHERE e.org_id = t."orgId" AND e.id = t.id AND e.lease_owner = t.owner AND t.id <> ALL (mine);
END
$$;
--> statement-breakpoint
-- Of all endpoints: what was given up before is not asked for any more.
CREATE FUNCTION erase_dead_deliveries(before timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$ DELETE FROM webhook_parked WHERE dead_at < before $$;
--> statement-breakpoint
REVOKE EXECUTE ON FUNCTION
  webhooks_to_review(text, timestamptz, integer),
  wake_webhooks(text, timestamptz, text[], text[]),
  claim_due_webhooks(text, timestamptz, text, integer, integer, text[]),
  settle_webhooks(timestamptz, json, json, json, json, json),
  erase_dead_deliveries(timestamptz),
  webhook_owner_rights(api_keys, timestamptz),
  webhook_reads(text[], text[], text),
  webhook_heads(text),
  webhook_behind(webhook_endpoints),
  webhook_next(webhook_endpoints),
  webhook_is_read(webhook_endpoints, text),
  webhook_reads_on(webhook_endpoints, text),
  webhook_type(text, text),
  webhook_may_select(text, text, text),
  webhook_types(text, text, bigint, bigint),
  webhook_has_news(webhook_endpoints),
  webhook_is_idle(webhook_endpoints, timestamptz)
FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION
  webhooks_to_review(text, timestamptz, integer),
  wake_webhooks(text, timestamptz, text[], text[]),
  claim_due_webhooks(text, timestamptz, text, integer, integer, text[]),
  settle_webhooks(timestamptz, json, json, json, json, json),
  erase_dead_deliveries(timestamptz)
TO patchbay_app;
