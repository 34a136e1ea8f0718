-- The record can be asked by key, by user and by time. Built in the transaction, as the rest of the file: changes wait
-- meanwhile, about a second for a million events.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX audit_events_org_id_api_key_id_seq_idx ON audit_events (org_id, api_key_id, seq) WHERE api_key_id IS NOT NULL;
--> statement-breakpoint
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX audit_events_org_id_user_id_seq_idx ON audit_events (org_id, user_id, seq) WHERE user_id IS NOT NULL;
--> statement-breakpoint
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX audit_events_org_id_at_seq_idx ON audit_events (org_id, at, seq);
--> statement-breakpoint
-- Signed heads: what the record was at a time, in a form that the owner of the database cannot write.
CREATE TABLE audit_anchors (
  org_id text COLLATE "C" NOT NULL,
  seq bigint NOT NULL,
  hash bytea NOT NULL,
  at timestamptz(3) NOT NULL,
  key_id text COLLATE "C" NOT NULL,
  signature bytea NOT NULL,
  published_at timestamptz(3),
  claimed_until timestamptz(3),
  CONSTRAINT audit_anchors_org_id_seq_pk PRIMARY KEY (org_id, seq)
);
--> statement-breakpoint
CREATE INDEX audit_anchors_unpublished_idx ON audit_anchors (at, org_id, seq) WHERE published_at IS NULL;
--> statement-breakpoint
-- Where the kept part of a record begins, once older events were removed: behind this event, signed like an anchor.
CREATE TABLE audit_starts (
  org_id text COLLATE "C" PRIMARY KEY NOT NULL,
  seq bigint NOT NULL,
  hash bytea NOT NULL,
  at timestamptz(3) NOT NULL,
  key_id text COLLATE "C" NOT NULL,
  signature bytea NOT NULL
);
--> statement-breakpoint
SELECT protect_table('audit_anchors'), protect_table('audit_starts');
--> statement-breakpoint
-- An anchor is worth what its signature is, so the service may write it. Only the functions below change or remove one.
REVOKE UPDATE, DELETE ON audit_anchors FROM patchbay_app;
--> statement-breakpoint
REVOKE INSERT, UPDATE, DELETE ON audit_starts FROM patchbay_app;
--> statement-breakpoint
-- The records that end elsewhere than at their last anchor, if that is so old, and where that is: behind it, or, if their
-- tail was cut, before it. A clock that was set back does not put an anchor off.
CREATE FUNCTION due_anchors(moment timestamptz, wait_seconds integer, behind text, most integer)
RETURNS TABLE (org_id text, seq bigint, hash bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
  SELECT h.org_id, coalesce(a.seq, s.seq, 0), coalesce(a.hash, s.hash, decode(repeat('00', 32), 'hex'))
  FROM audit_heads h
  LEFT JOIN audit_starts s ON s.org_id = h.org_id
  LEFT JOIN LATERAL (
    SELECT n.seq, n.hash, n.at FROM audit_anchors n WHERE n.org_id = h.org_id ORDER BY n.seq DESC LIMIT 1
  ) a ON true
  WHERE h.org_id > behind AND h.seq <> coalesce(a.seq, s.seq, 0)
    AND (a.at IS NULL OR a.at > moment OR a.at <= moment - make_interval(secs => wait_seconds))
  ORDER BY h.org_id LIMIT most
$$;
--> statement-breakpoint
-- Takes anchors that nobody has published, the oldest first, for a minute: a replica that dies with them leaves them to
-- another. By the clock of the database: by those of two replicas, one would take what the other has.
CREATE FUNCTION claim_anchors(most integer)
RETURNS TABLE (org_id text, seq bigint, hash bytea, at timestamptz, key_id text, signature bytea)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
  WITH claimed AS (
    SELECT n.org_id, n.seq FROM audit_anchors n
    WHERE n.published_at IS NULL
      AND (n.claimed_until IS NULL OR n.claimed_until NOT BETWEEN clock_timestamp() AND clock_timestamp() + interval '2 minutes')
    ORDER BY n.at, n.org_id, n.seq LIMIT most
    FOR UPDATE SKIP LOCKED
  ), taken AS (
    UPDATE audit_anchors a SET claimed_until = clock_timestamp() + interval '1 minute'
    FROM claimed c WHERE a.org_id = c.org_id AND a.seq = c.seq
    RETURNING a.*
  )
  SELECT t.org_id, t.seq, t.hash, t.at, t.key_id, t.signature FROM taken t ORDER BY t.at, t.org_id, t.seq
$$;
--> statement-breakpoint
CREATE FUNCTION settle_anchors(orgs text[], seqs bigint[], moment timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
  UPDATE audit_anchors a SET published_at = moment, claimed_until = NULL
  FROM unnest(orgs, seqs) AS u (org_id, seq) WHERE a.org_id = u.org_id AND a.seq = u.seq
$$;
--> statement-breakpoint
-- The records whose first event was recorded before this moment, and that have an anchor.
CREATE FUNCTION old_records(before timestamptz, behind text, most integer) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
  SELECT h.org_id FROM audit_heads h
  CROSS JOIN LATERAL (SELECT e.at FROM audit_events e WHERE e.org_id = h.org_id ORDER BY e.seq LIMIT 1) f
  WHERE h.org_id > behind AND f.at < before
    AND EXISTS (SELECT FROM audit_anchors n WHERE n.org_id = h.org_id)
  ORDER BY h.org_id LIMIT most
$$;
--> statement-breakpoint
-- Removes the beginning of the record of the transaction's organisation, up to this event, and stores the signed
-- statement of that. False if another replica was faster. What is not anchored, and what is younger than four weeks, is
-- not removed, whoever asks.
CREATE FUNCTION expire_audit(
  upto bigint, upto_hash bytea, moment timestamptz, start_key_id text, start_signature bytea
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
DECLARE
  org text := app_org_id();
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('patchbay audit start ' || org, 0));
  IF EXISTS (SELECT FROM audit_starts s WHERE s.org_id = org AND s.seq >= upto) THEN RETURN false; END IF;
  IF NOT EXISTS (SELECT FROM audit_events e WHERE e.org_id = org AND e.seq = upto AND e.hash = upto_hash)
    OR NOT EXISTS (SELECT FROM audit_anchors n WHERE n.org_id = org AND n.seq >= upto)
    OR EXISTS (
      SELECT FROM audit_events e
      WHERE e.org_id = org AND e.seq <= upto AND e.at > clock_timestamp() - interval '28 days'
    )
  THEN
    RAISE EXCEPTION 'audit events that are not anchored, or younger than 28 days, are kept' USING ERRCODE = 'PB003';
  END IF;

  INSERT INTO audit_starts AS s (org_id, seq, hash, at, key_id, signature)
  VALUES (org, upto, upto_hash, moment, start_key_id, start_signature)
  ON CONFLICT (org_id) DO UPDATE
  SET seq = excluded.seq, hash = excluded.hash, at = excluded.at, key_id = excluded.key_id, signature = excluded.signature;
  PERFORM set_config('app.audit_expires', 'true', true);
  DELETE FROM audit_events e WHERE e.org_id = org AND e.seq <= upto;
  PERFORM set_config('app.audit_expires', '', true);
  DELETE FROM audit_anchors n WHERE n.org_id = org AND n.seq <= upto;
  RETURN true;
END
$$;
--> statement-breakpoint
-- As before, except for what expires. The setting alone opens nothing: the service's role may delete nothing here.
CREATE OR REPLACE FUNCTION audit_is_final() RETURNS trigger LANGUAGE plpgsql
AS $$
BEGIN
  IF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'audit_events'
    AND pg_catalog.current_setting('app.audit_expires', true) = 'true'
  THEN
    RETURN NULL;
  END IF;
  RAISE EXCEPTION '% on %: audit events are neither changed nor deleted', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'PB003';
END
$$;
--> statement-breakpoint
REVOKE EXECUTE ON FUNCTION
  due_anchors(timestamptz, integer, text, integer),
  claim_anchors(integer),
  settle_anchors(text[], bigint[], timestamptz),
  old_records(timestamptz, text, integer),
  expire_audit(bigint, bytea, timestamptz, text, bytea)
FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION
  due_anchors(timestamptz, integer, text, integer),
  claim_anchors(integer),
  settle_anchors(text[], bigint[], timestamptz),
  old_records(timestamptz, text, integer),
  expire_audit(bigint, bytea, timestamptz, text, bytea)
TO patchbay_app;
