-- What lies before this number is over, whatever a longer retention would say of it later.
ALTER TABLE log_heads ADD COLUMN kept_from bigint DEFAULT 1 NOT NULL;
--> statement-breakpoint
DROP INDEX log_heads_channel;
--> statement-breakpoint
-- A channel is of one organisation: what comes for it must not be stored twice.
CREATE UNIQUE INDEX log_heads_channel ON log_heads (log) WHERE log LIKE 'chn\_%';
--> statement-breakpoint
-- Sealed bytes cannot be compressed, and large ones are read piece by piece.
ALTER TABLE events ALTER COLUMN data SET STORAGE EXTERNAL;
--> statement-breakpoint
REVOKE DELETE ON log_heads FROM patchbay_app;
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
-- Wakes the readers of logs. NOTIFY takes a lock of the whole cluster at commit, for however many; a payload ends at
-- 8,000 bytes, so names go in groups.
CREATE OR REPLACE FUNCTION announce_logs(moved text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  FOR start IN 1 .. coalesce(cardinality(moved), 0) BY 80 LOOP
    PERFORM pg_notify('patchbay', 'logs/' || array_to_string(moved[start : start + 79], ','));
  END LOOP;
END
$$;
--> statement-breakpoint
-- Drops one day that ended before this one, and answers how many that were: call it until it is none. For an instant,
-- the DROP has the whole table to itself: behind a long read it gives up soon, since all else would wait behind it.
CREATE OR REPLACE FUNCTION drop_log_days(before date) RETURNS integer
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

  PERFORM pg_advisory_xact_lock(hashtextextended('patchbay log days', 0));
  SELECT c.relname INTO partition FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
  WHERE i.inhparent IN ('public.events'::regclass, 'public.receipts'::regclass)
    AND right(c.relname, 8) < to_char(before, 'YYYYMMDD')
  ORDER BY right(c.relname, 8), c.relname LIMIT 1;
  IF NOT FOUND THEN RETURN 0; END IF;
  EXECUTE format('DROP TABLE public.%I', partition);
  RETURN 1;
END
$$;
--> statement-breakpoint
-- Appends a batch of many organisations' events: the organisation is that of the channel's head, and never an argument.
-- Each element of the arrays is one event; `given_keys` has null for an event that is never known again. Answers the
-- number of each event, which is that of the first one for an event that is known, and null if there is no such channel.
--
-- The heads are locked in the order of their keys, so two batches never wait for each other in a ring. A head that
-- another transaction keeps for long must not hold up all others' events: without `waits`, it is as if its channel were
-- not there.
DROP FUNCTION accept_events(timestamptz, text[], bytea[], text[], text[], text[], text[], text[], text[], text[], text[], text[], bytea[], integer[]);
--> statement-breakpoint
CREATE FUNCTION accept_events(
  received timestamptz, waits boolean, given_logs text[], given_keys bytea[], given_ids text[], given_sources text[],
  given_types text[], given_subjects text[], given_times text[], given_content_types text[],
  given_extensions text[], given_verified text[], given_masked text[], given_data bytea[], given_uploads bytea[], given_bytes integer[]
) RETURNS TABLE (n integer, seq bigint, is_new boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
SET lock_timeout = '1s'
AS $$
#variable_conflict use_column
DECLARE
  locked text[];
  names text[];
  kept integer[];
  known integer[];
BEGIN
  IF waits THEN
    SELECT array_agg(l.log), array_agg(l.org_id || '/' || l.log), array_agg(DISTINCT l.retention_seconds),
      array_agg(DISTINCT l.dedup_seconds)
    INTO locked, names, kept, known FROM (
      SELECT h.org_id, h.log, h.retention_seconds, h.dedup_seconds FROM log_heads h
      WHERE h.log = ANY (given_logs) AND h.log LIKE 'chn\_%' ORDER BY h.org_id, h.log FOR UPDATE
    ) l;
  ELSE
    SELECT array_agg(l.log), array_agg(l.org_id || '/' || l.log), array_agg(DISTINCT l.retention_seconds),
      array_agg(DISTINCT l.dedup_seconds)
    INTO locked, names, kept, known FROM (
      SELECT h.org_id, h.log, h.retention_seconds, h.dedup_seconds FROM log_heads h
      WHERE h.log = ANY (given_logs) AND h.log LIKE 'chn\_%' ORDER BY h.org_id, h.log FOR UPDATE SKIP LOCKED
    ) l;
  END IF;

  -- Upkeep makes them days ahead. Should it not have come to it, this is the last moment.
  IF EXISTS (
    SELECT FROM unnest(kept) s
    WHERE to_regclass('public.events_' || to_char(received + make_interval(secs => s), 'YYYYMMDD')) IS NULL
  ) OR EXISTS (
    SELECT FROM unnest(known) s
    WHERE to_regclass('public.receipts_' || to_char(received + make_interval(secs => s), 'YYYYMMDD')) IS NULL
  ) THEN
    PERFORM keep_log_days(received, '{}');
  END IF;

  -- Without any join of the events with themselves: Postgres cannot know how many there are, and would take the way for
  -- one or two, which for hundreds is the longest. What is only stored is taken from the arrays where it is stored, since
  -- each step in between would copy it.
  RETURN QUERY
  WITH given AS (
    SELECT u.*, h.org_id, h.seq AS head_seq,
      (received + make_interval(secs => h.retention_seconds))::date AS ends_on,
      received + make_interval(secs => h.dedup_seconds) AS forgotten_at,
      (
        SELECT r.seq FROM receipts r
        WHERE r.org_id = h.org_id AND r.log = h.log AND r.key = u.key AND r.ends_at > received LIMIT 1
      ) AS known_seq,
      u.key IS NOT NULL AND row_number() OVER (PARTITION BY u.log, u.key ORDER BY u.n) > 1 AS repeats
    FROM unnest(given_logs, given_keys, given_bytes) WITH ORDINALITY AS u(log, key, bytes, n)
    JOIN log_heads h ON h.log = u.log AND h.log LIKE 'chn\_%'
    WHERE waits OR u.log = ANY (locked)
  ), numbered AS (
    SELECT g.*, known_seq IS NULL AND NOT repeats AS comes,
      head_seq + count(*) FILTER (WHERE known_seq IS NULL AND NOT repeats) OVER (PARTITION BY log ORDER BY n) AS next_seq
    FROM given g
  ), noted AS (
    INSERT INTO receipts (org_id, log, key, seq, ends_at)
    SELECT org_id, log, key, next_seq, forgotten_at FROM numbered WHERE comes AND key IS NOT NULL
  ), stored AS (
    INSERT INTO events (
      org_id, log, seq, ends_on, received_at, id, source, type, subject, "time", content_type, extensions, verified,
      masked, data, data_bytes
    )
    SELECT org_id, log, next_seq, ends_on, received, given_ids[n], given_sources[n], given_types[n],
      given_subjects[n], given_times[n], given_content_types[n], given_extensions[n]::json, given_verified[n],
      given_masked[n], CASE WHEN given_uploads[n] IS NULL THEN given_data[n] ELSE uploaded(given_uploads[n]) END, bytes
    FROM numbered WHERE comes
  ), counted AS (
    -- An event without data takes room as well.
    INSERT INTO log_days AS d (org_id, log, ends_on, first_seq, last_seq, bytes)
    SELECT org_id, log, ends_on, min(next_seq), max(next_seq),
      sum(200 + bytes + octet_length(given_ids[n]) + octet_length(given_sources[n]) + octet_length(given_types[n])
        + octet_length(given_extensions[n]))
    FROM numbered WHERE comes GROUP BY org_id, log, ends_on
    ON CONFLICT (org_id, log, ends_on)
    DO UPDATE SET last_seq = excluded.last_seq, bytes = d.bytes + excluded.bytes
  ), moved AS (
    UPDATE log_heads h SET seq = m.top
    FROM (SELECT org_id, log, max(next_seq) AS top FROM numbered WHERE comes GROUP BY org_id, log) m
    WHERE h.org_id = m.org_id AND h.log = m.log
  )
  SELECT m.n::integer,
    CASE
      WHEN known_seq IS NOT NULL THEN known_seq
      WHEN repeats THEN first_value(next_seq) OVER (PARTITION BY log, key ORDER BY m.n)
      ELSE next_seq
    END,
    comes
  FROM numbered m;

  -- Of an event that was known, too.
  IF cardinality(array_remove(given_uploads, NULL)) > 0 THEN
    DELETE FROM event_uploads WHERE upload = ANY (given_uploads);
  END IF;

  PERFORM announce_logs(names);
END
$$;
--> statement-breakpoint
-- Appends what this service says of itself to the organisation's own log. Call it last: from here to the commit, other
-- such events of the organisation wait. What it holds is not sealed, and must not be secret.
CREATE OR REPLACE FUNCTION append_own_event(
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
    PERFORM keep_log_days(happened, '{}');
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
REVOKE EXECUTE ON FUNCTION earliest_seq(text, text, timestamptz), delete_log(text), moved_logs(text[], text[], bigint[]),
  upload_piece(bytea, integer, bytea, timestamptz), drop_uploads(timestamptz),
  announce_log(), uploaded(bytea),
  accept_events(timestamptz, boolean, text[], bytea[], text[], text[], text[], text[], text[], text[], text[], text[], text[], bytea[], bytea[], integer[])
FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION earliest_seq(text, text, timestamptz), delete_log(text), moved_logs(text[], text[], bigint[]),
  upload_piece(bytea, integer, bytea, timestamptz), drop_uploads(timestamptz),
  accept_events(timestamptz, boolean, text[], bytea[], text[], text[], text[], text[], text[], text[], text[], text[], text[], bytea[], bytea[], integer[])
TO patchbay_app;
