SELECT protect_table('channels');
--> statement-breakpoint
SELECT protect_table('channel_secrets');
--> statement-breakpoint
SELECT protect_table('log_heads');
--> statement-breakpoint
SELECT protect_table('log_days');
--> statement-breakpoint
SELECT protect_table('events');
--> statement-breakpoint
SELECT protect_table('receipts');
--> statement-breakpoint
-- Only the functions below write them.
REVOKE INSERT, UPDATE, DELETE ON log_days, events, receipts FROM patchbay_app;
--> statement-breakpoint
-- Makes the partitions for what comes today and in the next two days, to all logs that there are and to those that keep
-- for this long. Attached, not created in place: that would wait for every reader of the table, and be waited for. One
-- caller at a time: two would make the same.
CREATE FUNCTION keep_log_days(today timestamptz, also_seconds integer[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
DECLARE
  parent text;
  day date;
  name text;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('patchbay log days', 0));
  FOR parent, day IN
    WITH kept AS (
      SELECT 'events' AS parent, retention_seconds AS seconds FROM log_heads
      UNION SELECT 'receipts', dedup_seconds FROM log_heads
      UNION SELECT p, s FROM unnest(also_seconds || 604800) s, unnest(ARRAY['events', 'receipts']) p
    )
    SELECT DISTINCT k.parent, (today + make_interval(days => ahead, secs => k.seconds))::date
    FROM kept k, generate_series(0, 2) ahead
  LOOP
    name := parent || '_' || to_char(day, 'YYYYMMDD');
    CONTINUE WHEN to_regclass('public.' || name) IS NOT NULL;
    EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING ALL)', name, parent);
    EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
      parent, name, day, day + 1);
  END LOOP;
END
$$;
--> statement-breakpoint
-- Drops what ended before this day, and answers how many partitions that were.
CREATE FUNCTION drop_log_days(before date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
DECLARE
  name text;
  dropped integer := 0;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('patchbay log days', 0));
  FOR name IN
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent IN ('public.events'::regclass, 'public.receipts'::regclass)
      AND right(c.relname, 8) < to_char(before, 'YYYYMMDD')
  LOOP
    EXECUTE format('DROP TABLE public.%I', name);
    dropped := dropped + 1;
  END LOOP;
  DELETE FROM log_days WHERE ends_on < before;
  RETURN dropped;
END
$$;
--> statement-breakpoint
-- Appends a batch of many organisations' events: the organisation is that of the channel's head, and never an argument.
-- Each element of the arrays is one event; `given_keys` has null for an event that is never known again. Answers the
-- number of each event, which is that of the first one for an event that is known, and null if there is no such channel.
--
-- The heads are locked in the order of their keys, so two batches never wait for each other in a ring. The partitions
-- that it needs must be there (keep_log_days).
CREATE FUNCTION accept_events(
  received timestamptz, given_logs text[], given_keys bytea[], given_ids text[], given_sources text[],
  given_types text[], given_subjects text[], given_times text[], given_content_types text[],
  given_extensions text[], given_verified text[], given_masked text[], given_data bytea[], given_bytes integer[]
) RETURNS TABLE (n integer, seq bigint, is_new boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
#variable_conflict use_column
BEGIN
  PERFORM 1 FROM log_heads h
  WHERE h.log = ANY (given_logs) AND h.log LIKE 'chn\_%'
  ORDER BY h.org_id, h.log FOR UPDATE;

  RETURN QUERY
  WITH given AS (
    SELECT u.*, h.org_id, h.seq AS head_seq,
      ((received + make_interval(secs => h.retention_seconds)) AT TIME ZONE 'UTC')::date AS ends_on,
      received + make_interval(secs => h.dedup_seconds) AS forgotten_at,
      CASE WHEN u.key IS NULL THEN u.n ELSE first_value(u.n) OVER (PARTITION BY u.log, u.key ORDER BY u.n) END AS first
    FROM unnest(
      given_logs, given_keys, given_ids, given_sources, given_types, given_subjects, given_times,
      given_content_types, given_extensions, given_verified, given_masked, given_data, given_bytes
    ) WITH ORDINALITY AS u(
      log, key, id, source, type, subject, "time", content_type, extensions, verified, masked, data, bytes, n
    )
    JOIN log_heads h ON h.log = u.log AND h.log LIKE 'chn\_%'
  ), known AS (
    SELECT g.n, r.seq FROM given g
    JOIN receipts r ON r.org_id = g.org_id AND r.log = g.log AND r.key = g.key AND r.ends_at > received
  ), numbered AS (
    SELECT g.*, g.head_seq + row_number() OVER (PARTITION BY g.log ORDER BY g.n) AS next_seq
    FROM given g
    WHERE g.n = g.first AND NOT EXISTS (SELECT FROM known k WHERE k.n = g.n)
  ), noted AS (
    INSERT INTO receipts (org_id, log, key, seq, ends_at)
    SELECT org_id, log, key, next_seq, forgotten_at FROM numbered WHERE key IS NOT NULL
  ), stored AS (
    INSERT INTO events (
      org_id, log, seq, ends_on, received_at, id, source, type, subject, "time", content_type, extensions, verified,
      masked, data, data_bytes
    )
    SELECT org_id, log, next_seq, ends_on, received, id, source, type, subject, "time", content_type,
      extensions::json, verified, masked, data, bytes
    FROM numbered
  ), counted AS (
    INSERT INTO log_days AS d (org_id, log, ends_on, first_seq, last_seq, bytes)
    SELECT org_id, log, ends_on, min(next_seq), max(next_seq), sum(bytes) FROM numbered GROUP BY org_id, log, ends_on
    ON CONFLICT (org_id, log, ends_on)
    DO UPDATE SET last_seq = excluded.last_seq, bytes = d.bytes + excluded.bytes
  ), moved AS (
    UPDATE log_heads h SET seq = m.top
    FROM (SELECT org_id, log, max(next_seq) AS top FROM numbered GROUP BY org_id, log) m
    WHERE h.org_id = m.org_id AND h.log = m.log
  )
  SELECT g.n::integer, coalesce(k.seq, m.next_seq), k.seq IS NULL AND g.n = g.first
  FROM given g LEFT JOIN known k ON k.n = g.n LEFT JOIN numbered m ON m.n = g.first;

  PERFORM announce_logs(array_agg(DISTINCT h.org_id || '/' || h.log)) FROM log_heads h
  WHERE h.log = ANY (given_logs) AND h.log LIKE 'chn\_%';
END
$$;
--> statement-breakpoint
-- Wakes the readers of logs, once for all of them: NOTIFY takes a lock of the whole cluster at commit. Its payload ends
-- at 8,000 bytes; longer, it wakes all.
CREATE FUNCTION announce_logs(moved text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
  named text := 'logs/' || array_to_string(moved, ',');
BEGIN
  PERFORM pg_notify('patchbay', CASE WHEN octet_length(named) > 7900 THEN 'logs/*' ELSE named END)
  WHERE moved IS NOT NULL;
END
$$;
--> statement-breakpoint
-- Appends what this service says of itself to the organisation's own log. Call it last: from here to the commit, other
-- such events of the organisation wait. What it holds is not sealed, and must not be secret.
CREATE FUNCTION append_own_event(
  org text, event_type text, event_subject text, event_data json, happened timestamptz
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
#variable_conflict use_column
DECLARE
  next_seq bigint;
  until date := ((happened + interval '7 days') AT TIME ZONE 'UTC')::date;
BEGIN
  INSERT INTO log_heads AS h (org_id, log, seq, retention_seconds, dedup_seconds)
  VALUES (org, 'service', 1, 604800, 604800)
  ON CONFLICT (org_id, log) DO UPDATE SET seq = h.seq + 1
  RETURNING h.seq INTO next_seq;
  INSERT INTO events (
    org_id, log, seq, ends_on, received_at, id, source, type, subject, "time", content_type, extensions, verified,
    data, data_bytes
  ) VALUES (
    org, 'service', next_seq, until, happened, 'service.' || next_seq, 'patchbay', event_type, event_subject,
    to_char(happened AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), 'application/json', '{}', 'patchbay',
    convert_to(event_data::text, 'UTF8'), octet_length(event_data::text)
  );
  INSERT INTO log_days AS d (org_id, log, ends_on, first_seq, last_seq, bytes)
  VALUES (org, 'service', until, next_seq, next_seq, octet_length(event_data::text))
  ON CONFLICT (org_id, log, ends_on) DO UPDATE SET last_seq = excluded.last_seq, bytes = d.bytes + excluded.bytes;
  PERFORM announce_logs(ARRAY[org || '/service']);
  RETURN next_seq;
END
$$;
--> statement-breakpoint
REVOKE EXECUTE ON FUNCTION keep_log_days(timestamptz, integer[]), drop_log_days(date), append_own_event(text, text, text, json, timestamptz),
  announce_logs(text[]),
  accept_events(timestamptz, text[], bytea[], text[], text[], text[], text[], text[], text[], text[], text[], text[], bytea[], integer[])
FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION keep_log_days(timestamptz, integer[]), drop_log_days(date),
  accept_events(timestamptz, text[], bytea[], text[], text[], text[], text[], text[], text[], text[], text[], text[], bytea[], integer[])
TO patchbay_app;
--> statement-breakpoint
-- For the transaction's own organisation.
CREATE FUNCTION append_own_event(event_type text, event_subject text, event_data json, happened timestamptz)
RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$ SELECT append_own_event(app_org_id(), event_type, event_subject, event_data, happened) $$;
--> statement-breakpoint
REVOKE EXECUTE ON FUNCTION append_own_event(text, text, json, timestamptz) FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION append_own_event(text, text, json, timestamptz) TO patchbay_app;
