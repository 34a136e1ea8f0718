SELECT protect_table('log_heads'), protect_table('log_days'), protect_table('events'), protect_table('receipts'),
  protect_table('event_groups'), protect_table('event_group_deliveries'), protect_table('event_group_backlog'),
  protect_table('api_key_ends');
--> statement-breakpoint
-- Only the functions below write them.
REVOKE INSERT, UPDATE, DELETE ON log_days, events, receipts, api_key_ends FROM patchbay_app;
--> statement-breakpoint
REVOKE DELETE ON log_heads FROM patchbay_app;
--> statement-breakpoint
-- Sealed bytes cannot be compressed, and large ones are read piece by piece.
ALTER TABLE events ALTER COLUMN data SET STORAGE EXTERNAL;
--> statement-breakpoint
-- Each batch updates them: with room in their pages, no index is touched and nothing is left for VACUUM.
ALTER TABLE log_heads SET (fillfactor = 40);
--> statement-breakpoint
ALTER TABLE log_days SET (fillfactor = 40);
--> statement-breakpoint
-- Long data on its way into an event, sealed and in pieces: as one parameter of the statement that stores the event, it
-- would hold up the process that sends it. It is written before, by a transaction of its own, so not logged: if the
-- server ends, there is no event that needs it.
CREATE UNLOGGED TABLE event_uploads (
  upload bytea NOT NULL,
  n integer NOT NULL,
  piece bytea NOT NULL,
  at timestamptz NOT NULL,
  PRIMARY KEY (upload, n)
);
--> statement-breakpoint
ALTER TABLE event_uploads ALTER COLUMN piece SET STORAGE EXTERNAL;
--> statement-breakpoint
CREATE FUNCTION upload_piece(given_upload bytea, given_n integer, given_piece bytea, now timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$ INSERT INTO event_uploads (upload, n, piece, at) VALUES (given_upload, given_n, given_piece, now) $$;
--> statement-breakpoint
-- The whole. If the server has ended since it was written, it is not there any more, and the event must not be stored
-- without its data: sent again, it is.
CREATE FUNCTION uploaded(given_upload bytea) RETURNS bytea
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
  whole bytea := (SELECT string_agg(u.piece, ''::bytea ORDER BY u.n) FROM event_uploads u WHERE u.upload = given_upload);
BEGIN
  IF whole IS NULL THEN
    RAISE EXCEPTION 'long data of an event is not there any more' USING ERRCODE = 'serialization_failure';
  END IF;
  RETURN whole;
END
$$;
--> statement-breakpoint
-- Forgets what no event came for.
CREATE FUNCTION drop_uploads(before timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$ DELETE FROM event_uploads WHERE at < before $$;
--> statement-breakpoint
-- Makes the partitions for what comes today and in the next two days, to all logs that there are and to those that keep
-- for this long. Attached, not created in place: that would wait for every reader of the table, and be waited for. One
-- caller at a time: two would make the same.
CREATE FUNCTION keep_days(today timestamptz, also_seconds integer[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
DECLARE
  parent text;
  day date;
  name text;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('patchbay days', 0));
  FOR parent, day IN
    WITH kept AS (
      SELECT 'events' AS parent, retention_seconds AS seconds FROM log_heads
      UNION SELECT 'receipts', dedup_seconds FROM log_heads
      UNION SELECT p, s FROM unnest(also_seconds || 604800) s, unnest(ARRAY['events', 'receipts']) p
      -- Attempts of webhooks are kept for 30 days, whatever they were about.
      UNION SELECT 'webhook_attempts', 2592000
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
-- Drops one day that ended before this one, and answers how many that were: call it until it is none. For an instant,
-- the DROP has the whole table to itself: behind a long read it gives up soon, since all else would wait behind it.
CREATE FUNCTION drop_days(before date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
SET lock_timeout = '200ms'
AS $$
DECLARE
  partition text;
  org text;
  named text;
  last bigint;
BEGIN
  -- Once a log's retention was changed, days in its middle may end before those at its beginning. What lies before them
  -- is over too: a reader must not find a gap.
  FOR org, named, last IN
    SELECT d.org_id, d.log, max(d.last_seq) FROM log_days d WHERE d.ends_on < before AND EXISTS (
      SELECT FROM log_days k
      WHERE k.org_id = d.org_id AND k.log = d.log AND k.ends_on >= before AND k.first_seq < d.last_seq
    )
    GROUP BY d.org_id, d.log ORDER BY d.org_id, d.log
  LOOP
    UPDATE log_heads h SET kept_from = greatest(h.kept_from, last + 1) WHERE h.org_id = org AND h.log = named;
  END LOOP;
  DELETE FROM log_days WHERE ends_on < before;

  PERFORM pg_advisory_xact_lock(hashtextextended('patchbay days', 0));
  SELECT c.relname INTO partition FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
  WHERE i.inhparent IN ('public.events'::regclass, 'public.receipts'::regclass, 'public.webhook_attempts'::regclass)
    AND right(c.relname, 8) < to_char(before, 'YYYYMMDD')
  ORDER BY right(c.relname, 8), c.relname LIMIT 1;
  IF NOT FOUND THEN RETURN 0; END IF;
  EXECUTE format('DROP TABLE public.%I', partition);
  RETURN 1;
END
$$;
--> statement-breakpoint
-- Wakes the readers of logs. NOTIFY takes a lock of the whole cluster at commit, for however many; a payload ends at
-- 8,000 bytes, so names go in groups.
CREATE FUNCTION announce_logs(moved text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  FOR start IN 1 .. coalesce(cardinality(moved), 0) BY 80 LOOP
    PERFORM pg_notify('patchbay', 'logs/' || array_to_string(moved[start : start + 79], ','));
  END LOOP;
END
$$;
--> statement-breakpoint
-- Appends a batch of many organisations' events: the organisation is that of the channel's head, and never an argument.
-- Each element of the arrays is one event, and no two have the same key; `given_keys` has null for an event that is never
-- known again. The data of all is one value, in which each has its place: in an array, each byte would be read three times.
-- Answers the number of each event, which is that of the first one for an event that is known, and nothing for one whose
-- channel there is not.
--
-- The heads are locked in the order of their keys, so two batches never wait for each other in a ring. A head that
-- another transaction keeps for long must not hold up all others' events: without `waits`, it is as if its channel were
-- not there.
CREATE FUNCTION accept_events(
  received timestamptz, waits boolean, given_logs text[], given_keys bytea[], given_ids text[], given_sources text[],
  given_types text[], given_subjects text[], given_times text[], given_content_types text[],
  given_extensions text[], given_verified text[], given_masked text[], given_data bytea, given_starts integer[],
  given_lengths integer[], given_uploads bytea[], given_bytes integer[], given_room integer[]
) RETURNS TABLE (n integer, seq bigint, is_new boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
SET lock_timeout = '1s'
AS $$
#variable_conflict use_column
DECLARE
  heads log_heads[];
BEGIN
  IF waits THEN
    heads := ARRAY(
      SELECT h FROM log_heads h
      WHERE h.log = ANY (given_logs) AND h.log LIKE 'chn\_%' ORDER BY h.org_id, h.log FOR UPDATE
    );
  ELSE
    heads := ARRAY(
      SELECT h FROM log_heads h
      WHERE h.log = ANY (given_logs) AND h.log LIKE 'chn\_%' ORDER BY h.org_id, h.log FOR UPDATE SKIP LOCKED
    );
  END IF;

  -- Upkeep makes them days ahead. Should it not have come to it, this is the last moment.
  IF EXISTS (
    SELECT FROM (SELECT DISTINCT retention_seconds, dedup_seconds FROM unnest(heads)) h
    WHERE to_regclass('public.events_' || to_char(received + make_interval(secs => retention_seconds), 'YYYYMMDD')) IS NULL
      OR to_regclass('public.receipts_' || to_char(received + make_interval(secs => dedup_seconds), 'YYYYMMDD')) IS NULL
  ) THEN
    PERFORM keep_days(received, '{}');
  END IF;

  -- What is only stored is taken from the arrays where it is stored, since each step in between would copy it. Whether an
  -- event is known is asked in a join: as an expression, it would be asked wherever the answer is used.
  RETURN QUERY
  WITH numbered AS (
    SELECT u.n, u.key, u.bytes, u.room, h.org_id, h.log, k.seq IS NULL AS comes,
      (received + make_interval(secs => h.retention_seconds))::date AS ends_on,
      received + make_interval(secs => h.dedup_seconds) AS forgotten_at,
      coalesce(
        k.seq,
        h.seq + count(*) FILTER (WHERE k.seq IS NULL) OVER (PARTITION BY h.log ORDER BY u.n ROWS UNBOUNDED PRECEDING)
      ) AS its_seq
    FROM unnest(given_logs, given_keys, given_bytes, given_room) WITH ORDINALITY AS u(log, key, bytes, room, n)
    JOIN unnest(heads) h ON h.log = u.log
    LEFT JOIN LATERAL (
      SELECT r.seq FROM receipts r
      WHERE r.org_id = h.org_id AND r.log = h.log AND r.key = u.key AND r.ends_at > received LIMIT 1
    ) k ON true
  ), noted AS (
    INSERT INTO receipts (org_id, log, key, seq, ends_at)
    SELECT org_id, log, key, its_seq, forgotten_at FROM numbered WHERE comes AND key IS NOT NULL
  ), stored AS (
    INSERT INTO events (
      org_id, log, seq, ends_on, received_at, id, source, type, subject, "time", content_type, extensions, verified,
      masked, data, data_bytes
    )
    SELECT org_id, log, its_seq, ends_on, received, given_ids[n], given_sources[n], given_types[n], given_subjects[n],
      given_times[n], given_content_types[n], given_extensions[n]::json, given_verified[n], given_masked[n],
      CASE WHEN given_uploads[n] IS NULL THEN substr(given_data, given_starts[n], given_lengths[n])
        ELSE uploaded(given_uploads[n]) END,
      bytes
    FROM numbered WHERE comes
  ), counted AS (
    INSERT INTO log_days AS d (org_id, log, ends_on, first_seq, last_seq, bytes)
    SELECT org_id, log, ends_on, min(its_seq), max(its_seq), sum(room) FROM numbered WHERE comes
    GROUP BY org_id, log, ends_on
    ON CONFLICT (org_id, log, ends_on)
    DO UPDATE SET last_seq = excluded.last_seq, bytes = d.bytes + excluded.bytes
  ), moved AS (
    UPDATE log_heads h SET seq = m.top
    FROM (SELECT org_id, log, max(its_seq) AS top FROM numbered WHERE comes GROUP BY org_id, log) m
    WHERE h.org_id = m.org_id AND h.log = m.log
  )
  SELECT m.n::integer, its_seq, comes FROM numbered m;

  -- Of an event that was known, too.
  IF cardinality(array_remove(given_uploads, NULL)) > 0 THEN
    DELETE FROM event_uploads WHERE upload = ANY (given_uploads);
  END IF;

  PERFORM announce_logs(ARRAY(SELECT h.org_id || '/' || h.log FROM unnest(heads) h));
END
$$;
--> statement-breakpoint
-- The lowest number of a log that is kept at this moment; one more than its last if none is; null if there is no such
-- log. Found by halving, since numbers are in the order in which events were received.
CREATE FUNCTION earliest_seq(org text, given_log text, moment timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
DECLARE
  head log_heads;
  lowest bigint;
  behind bigint;
  middle bigint;
  received timestamptz;
BEGIN
  SELECT * INTO head FROM log_heads h WHERE h.org_id = org AND h.log = given_log;
  IF NOT FOUND THEN RETURN NULL; END IF;
  behind := head.seq + 1;
  SELECT min(d.first_seq) INTO lowest FROM log_days d
  WHERE d.org_id = org AND d.log = given_log AND d.ends_on >= (moment AT TIME ZONE 'UTC')::date;
  lowest := greatest(lowest, head.kept_from);
  WHILE lowest < behind LOOP
    middle := (lowest + behind) / 2;
    SELECT e.received_at INTO received FROM log_days d
    JOIN events e ON e.org_id = d.org_id AND e.log = d.log AND e.ends_on = d.ends_on AND e.seq = middle
    WHERE d.org_id = org AND d.log = given_log AND middle BETWEEN d.first_seq AND d.last_seq;
    IF received + make_interval(secs => head.retention_seconds) > moment THEN behind := middle;
    ELSE lowest := middle + 1;
    END IF;
  END LOOP;
  RETURN lowest;
END
$$;
--> statement-breakpoint
-- Ends a channel's log: with its head, the key is gone that its data is sealed with, and what it took no longer counts.
-- Its rows are dropped with their days. Call it last: what comes for the channel waits from here to the commit.
CREATE FUNCTION delete_log(given_log text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
  DELETE FROM log_heads WHERE org_id = app_org_id() AND log = given_log AND log LIKE 'chn\_%';
  DELETE FROM log_days WHERE org_id = app_org_id() AND log = given_log AND log LIKE 'chn\_%';
$$;
--> statement-breakpoint
-- Which of these logs have moved beyond these numbers, or ended. For readers, who may have missed an announcement.
CREATE FUNCTION moved_logs(orgs text[], given_logs text[], seqs bigint[]) RETURNS TABLE (n integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
  SELECT u.n::integer FROM unnest(orgs, given_logs, seqs) WITH ORDINALITY AS u(org, log, seq, n)
  WHERE CASE WHEN u.log = 'audit'
    THEN EXISTS (SELECT FROM audit_heads a WHERE a.org_id = u.org AND a.seq > u.seq)
    ELSE coalesce((SELECT h.seq > u.seq FROM log_heads h WHERE h.org_id = u.org AND h.log = u.log), u.log <> 'service')
  END
$$;
--> statement-breakpoint
-- What is remembered of a log is forgotten, in all processes, once the log ends or keeps for another time.
CREATE FUNCTION announce_log() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  PERFORM announce('log/' || OLD.org_id || '/' || OLD.log);
  RETURN NULL;
END
$$;
--> statement-breakpoint
CREATE TRIGGER announce_log AFTER DELETE OR UPDATE OF sealed_key, retention_seconds, dedup_seconds ON log_heads
  FOR EACH ROW EXECUTE FUNCTION announce_log();
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
  until date := (happened + interval '7 days')::date;
BEGIN
  IF to_regclass('public.events_' || to_char(until, 'YYYYMMDD')) IS NULL THEN
    PERFORM keep_days(happened, '{}');
  END IF;
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
  VALUES (org, 'service', until, next_seq, next_seq, 200 + octet_length(event_data::text))
  ON CONFLICT (org_id, log, ends_on) DO UPDATE SET last_seq = excluded.last_seq, bytes = d.bytes + excluded.bytes;
  PERFORM announce_logs(ARRAY[org || '/service']);
  RETURN next_seq;
END
$$;
--> statement-breakpoint
-- For the transaction's own organisation.
CREATE FUNCTION append_own_event(event_type text, event_subject text, event_data json, happened timestamptz)
RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$ SELECT append_own_event(app_org_id(), event_type, event_subject, event_data, happened) $$;
--> statement-breakpoint
-- Of all groups: what is dead for so long is not asked for any more.
CREATE FUNCTION erase_dead_events(before timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$ DELETE FROM event_group_backlog WHERE dead_at < before $$;
--> statement-breakpoint
-- A moment as JSON has it.
CREATE FUNCTION iso_time(moment timestamptz) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$ SELECT to_char(moment, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') $$;
--> statement-breakpoint
-- As before. A service that was not seen healthy for more than five minutes, which is when answers say so, has an event
-- of that in the log `service`, and one when it is seen healthy again.
CREATE OR REPLACE FUNCTION record_probes(found json)
RETURNS TABLE (org_id text, connection_id text, error text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
#variable_conflict use_column
DECLARE
  -- By its own name, `found`, it would be that of every plpgsql function.
  outcomes ALIAS FOR $1;
  changed record;
BEGIN
  -- In a statement of its own: whoever replaces a base URL writes this row too, so the next statement sees the base
  -- URL of the one that this waited for. In one order, or two replicas could lock each other out.
  PERFORM FROM connection_health h
  JOIN json_to_recordset(outcomes) AS r ("orgId" text, "connectionId" text)
    ON h.org_id = "orgId" AND h.connection_id = "connectionId"
  ORDER BY h.org_id, h.connection_id
  FOR UPDATE OF h;

  FOR changed IN
    WITH result AS (
      SELECT r.*, h.last_error AS earlier, h.last_checked_at IS NOT NULL AS known,
        h.unhealthy_since AS was_since, h.last_healthy_at AS healthy_at, c.slug, c.integration,
        r.error IS NOT NULL AND r.at - coalesce(h.last_healthy_at, c.created_at) > interval '5 minutes' AS is_unhealthy
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
            THEN greatest(h.last_healthy_at, result.at) ELSE h.last_healthy_at END,
          unhealthy_since = CASE WHEN result.is_unhealthy THEN coalesce(h.unhealthy_since, result.at) END
      FROM result
      WHERE h.org_id = "orgId" AND h.connection_id = "connectionId"
        AND (h.last_checked_at IS NULL OR h.last_checked_at <= result.at)
      RETURNING h.org_id, h.connection_id, h.last_error, h.last_error_stage, h.last_healthy_at, h.unhealthy_since,
        result.at, result.earlier, result.known, result.was_since, result.slug, result.integration
    )
    SELECT r.*,
      (r.last_error IS NULL) <> (r.earlier IS NULL) AND (r.known OR r.last_error IS NOT NULL) AS is_other,
      (r.unhealthy_since IS NULL) <> (r.was_since IS NULL) AS is_news
    FROM recorded r
    -- The order in which logs are locked.
    ORDER BY r.org_id, r.connection_id
  LOOP
    IF changed.is_news THEN
      PERFORM append_own_event(
        changed.org_id,
        CASE WHEN changed.unhealthy_since IS NULL THEN 'connection.recovered' ELSE 'connection.unhealthy' END,
        changed.connection_id,
        json_strip_nulls(json_build_object(
          'connectionId', changed.connection_id, 'serviceSlug', changed.slug, 'integration', changed.integration,
          'lastHealthyAt', iso_time(changed.last_healthy_at), 'unhealthySince', iso_time(changed.was_since),
          'stage', changed.last_error_stage, 'error', changed.last_error
        )),
        changed.at
      );
    END IF;
    IF changed.is_other THEN
      org_id := changed.org_id;
      connection_id := changed.connection_id;
      error := CASE WHEN changed.last_error IS NOT NULL
        THEN concat_ws(': ', changed.last_error_stage, changed.last_error) END;
      RETURN NEXT;
    END IF;
  END LOOP;
END
$$;
--> statement-breakpoint
-- What is over is no news.
INSERT INTO api_key_ends (org_id, key_id, expires_at, days_left)
SELECT org_id, id, expires_at, 0 FROM api_keys WHERE expires_at <= now();
--> statement-breakpoint
-- Says of keys, of all organisations, that they end in seven days or in one, or that they ended: each once, for each end
-- that a key is given. A key that is made later than seven days before its end has no event of that. Answers how many
-- events that were; as many as asked for mean that there may be more.
CREATE FUNCTION announce_key_ends(wanted text, now timestamptz, most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
DECLARE
  ending record;
  announced integer := 0;
BEGIN
  FOR ending IN
    WITH due AS (
      -- A key that is changed at this moment is left to the next turn, which sees what became of it.
      SELECT k.org_id, k.id, k.name, k.expires_at,
        CASE WHEN k.expires_at <= now THEN 0 WHEN k.expires_at <= now + interval '1 day' THEN 1 ELSE 7 END AS days_left
      FROM api_keys k
      WHERE k.environment = wanted AND k.revoked_at IS NULL AND k.expires_at <= now + interval '7 days'
        AND (
          k.expires_at <= now
          OR (k.expires_at <= now + interval '1 day' AND k.created_at <= k.expires_at - interval '1 day')
          OR k.created_at <= k.expires_at - interval '7 days'
        )
        AND NOT EXISTS (
          SELECT FROM api_key_ends e
          WHERE e.org_id = k.org_id AND e.key_id = k.id AND e.expires_at = k.expires_at
            AND e.days_left <=
              CASE WHEN k.expires_at <= now THEN 0 WHEN k.expires_at <= now + interval '1 day' THEN 1 ELSE 7 END
        )
      ORDER BY k.org_id, k.id
      LIMIT most
      FOR SHARE OF k SKIP LOCKED
    ), noted AS (
      -- Another replica may have come first: what it noted is seen here, and then there is nothing to say.
      INSERT INTO api_key_ends AS e (org_id, key_id, expires_at, days_left)
      SELECT org_id, id, expires_at, days_left FROM due
      ON CONFLICT (org_id, key_id) DO UPDATE SET expires_at = excluded.expires_at, days_left = excluded.days_left
      WHERE e.expires_at <> excluded.expires_at OR e.days_left > excluded.days_left
      RETURNING e.org_id, e.key_id, e.expires_at, e.days_left
    )
    SELECT n.*, d.name FROM noted n JOIN due d ON d.org_id = n.org_id AND d.id = n.key_id
    ORDER BY n.org_id, n.key_id
  LOOP
    PERFORM append_own_event(
      ending.org_id,
      CASE WHEN ending.days_left = 0 THEN 'api_key.expired' ELSE 'api_key.expiring' END,
      ending.key_id,
      json_strip_nulls(json_build_object(
        'apiKeyId', ending.key_id, 'name', ending.name, 'expiresAt', iso_time(ending.expires_at),
        'daysLeft', nullif(ending.days_left, 0)
      )),
      now
    );
    announced := announced + 1;
  END LOOP;
  RETURN announced;
END
$$;
--> statement-breakpoint
REVOKE EXECUTE ON FUNCTION
  upload_piece(bytea, integer, bytea, timestamptz),
  drop_uploads(timestamptz),
  keep_days(timestamptz, integer[]),
  drop_days(date),
  accept_events(timestamptz, boolean, text[], bytea[], text[], text[], text[], text[], text[], text[], text[], text[], text[], bytea, integer[], integer[], bytea[], integer[], integer[]),
  earliest_seq(text, text, timestamptz),
  delete_log(text),
  moved_logs(text[], text[], bigint[]),
  append_own_event(text, text, json, timestamptz),
  erase_dead_events(timestamptz),
  announce_key_ends(text, timestamptz, integer),
  uploaded(bytea),
  announce_logs(text[]),
  announce_log(),
  append_own_event(text, text, text, json, timestamptz),
  iso_time(timestamptz)
FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION
  upload_piece(bytea, integer, bytea, timestamptz),
  drop_uploads(timestamptz),
  keep_days(timestamptz, integer[]),
  drop_days(date),
  accept_events(timestamptz, boolean, text[], bytea[], text[], text[], text[], text[], text[], text[], text[], text[], text[], bytea, integer[], integer[], bytea[], integer[], integer[]),
  earliest_seq(text, text, timestamptz),
  delete_log(text),
  moved_logs(text[], text[], bigint[]),
  append_own_event(text, text, json, timestamptz),
  erase_dead_events(timestamptz),
  announce_key_ends(text, timestamptz, integer)
TO patchbay_app;
