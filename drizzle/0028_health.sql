ALTER TABLE "connection_health" ADD COLUMN "state" text;--> statement-breakpoint
ALTER TABLE "connection_health" ADD COLUMN "transitions" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "connection_health" ADD COLUMN "recent_at" timestamp (3) with time zone[] DEFAULT '{}' NOT NULL;--> statement-breakpoint
ALTER TABLE "connection_health" ADD COLUMN "recent_ms" integer[] DEFAULT '{}' NOT NULL;--> statement-breakpoint
ALTER TABLE "connection_health" ADD COLUMN "certificate_expires_at" timestamp (3) with time zone;--> statement-breakpoint
CREATE TABLE "connection_transitions" (
	"org_id" text COLLATE "C" NOT NULL,
	"connection_id" text COLLATE "C" NOT NULL,
	"slot" integer NOT NULL,
	"at" timestamp (3) with time zone NOT NULL,
	"stage" text,
	"error" text,
	CONSTRAINT "connection_transitions_org_id_connection_id_slot_pk" PRIMARY KEY("org_id","connection_id","slot")
);
--> statement-breakpoint
CREATE INDEX "connection_transitions_at" ON "connection_transitions" USING btree ("at");--> statement-breakpoint
CREATE TABLE "connection_heads" (
	"org_id" text COLLATE "C" PRIMARY KEY NOT NULL,
	"seq" bigint NOT NULL,
	"kept_from" bigint DEFAULT 0 NOT NULL,
	CONSTRAINT "connection_heads_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action
);
--> statement-breakpoint
CREATE TABLE "connection_changes" (
	"org_id" text COLLATE "C" NOT NULL,
	"connection_id" text COLLATE "C" NOT NULL,
	"environment" text NOT NULL,
	"seq" bigint NOT NULL,
	CONSTRAINT "connection_changes_org_id_connection_id_pk" PRIMARY KEY("org_id","connection_id"),
	CONSTRAINT "connection_changes_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action
);
--> statement-breakpoint
CREATE UNIQUE INDEX "connection_changes_seq" ON "connection_changes" USING btree ("org_id","seq");--> statement-breakpoint
CREATE TABLE "connection_farewells" (
	"org_id" text COLLATE "C" NOT NULL,
	"seq" bigint NOT NULL,
	"connection_id" text COLLATE "C" NOT NULL,
	"environment" text NOT NULL,
	"slug" text COLLATE "C",
	"tags" text[] NOT NULL,
	"owner_user_id" text COLLATE "C",
	"visibility" text NOT NULL,
	"at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "connection_farewells_org_id_seq_pk" PRIMARY KEY("org_id","seq"),
	CONSTRAINT "connection_farewells_org_id_orgs_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."orgs"("id") ON DELETE no action ON UPDATE no action
);
--> statement-breakpoint
CREATE INDEX "connection_farewells_at" ON "connection_farewells" USING btree ("at");--> statement-breakpoint
SELECT protect_table('connection_transitions'), protect_table('connection_heads'), protect_table('connection_changes'),
  protect_table('connection_farewells');
--> statement-breakpoint
-- Only the functions below write them.
REVOKE INSERT, UPDATE, DELETE ON connection_transitions, connection_heads, connection_changes, connection_farewells
FROM patchbay_app;
--> statement-breakpoint
-- Each probe writes its row: with room in the page, no index is touched.
ALTER TABLE connection_health SET (fillfactor = 70);
--> statement-breakpoint
-- Latencies and the certificate are of the service that was there.
CREATE FUNCTION forget_health() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  UPDATE connection_health h SET recent_at = '{}', recent_ms = '{}', certificate_expires_at = NULL
  WHERE h.org_id = NEW.org_id AND h.connection_id = NEW.id;
  RETURN NULL;
END
$$;
--> statement-breakpoint
CREATE TRIGGER forget_health AFTER UPDATE OF base_url ON connections
  FOR EACH ROW WHEN (OLD.base_url <> NEW.base_url) EXECUTE FUNCTION forget_health();
--> statement-breakpoint
-- By no foreign key: to check it, whoever records a probe would wait for the connection's row, and whoever changes that
-- waits for the row of its health. At once, before the organisation's head is locked: what forgets old transitions holds
-- those when it comes to the head.
CREATE FUNCTION forget_transitions() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  DELETE FROM connection_transitions t WHERE t.org_id = OLD.org_id AND t.connection_id = OLD.connection_id;
  RETURN NULL;
END
$$;
--> statement-breakpoint
CREATE TRIGGER forget_transitions AFTER DELETE ON connection_health
  FOR EACH ROW EXECUTE FUNCTION forget_transitions();
--> statement-breakpoint
-- The next number of an organisation's changes of connections. From here to the commit, other such changes of the
-- organisation wait: so whoever sees a number sees all lower ones, and a reader's position misses nothing. It is the
-- last lock that a transaction takes.
CREATE FUNCTION next_connection_seqs(org text, many integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
  INSERT INTO connection_heads AS h (org_id, seq) VALUES (org, many)
  ON CONFLICT (org_id) DO UPDATE SET seq = h.seq + many
  RETURNING h.seq
$$;
--> statement-breakpoint
CREATE FUNCTION note_connection_change(org text, id text, env text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
  INSERT INTO connection_changes (org_id, connection_id, environment, seq)
  VALUES (org, id, env, next_connection_seqs(org, 1))
  ON CONFLICT (org_id, connection_id) DO UPDATE SET seq = excluded.seq
$$;
--> statement-breakpoint
-- What decides who may see a connection was changed, or is gone with it: those who could see it are to hear of that.
CREATE FUNCTION note_connection_farewell(was connections) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
  INSERT INTO connection_farewells
    (org_id, seq, connection_id, environment, slug, tags, owner_user_id, visibility, at)
  VALUES (
    was.org_id, next_connection_seqs(was.org_id, 1), was.id, was.environment, was.slug, was.tags, was.owner_user_id,
    was.visibility, clock_timestamp()
  )
$$;
--> statement-breakpoint
-- Runs at the end of its transaction, so that the organisation's head is locked after all else.
CREATE FUNCTION note_connection() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    PERFORM note_connection_farewell(OLD);
    DELETE FROM connection_changes c WHERE c.org_id = OLD.org_id AND c.connection_id = OLD.id;
    RETURN NULL;
  END IF;
  IF TG_OP = 'UPDATE' AND (OLD.slug, OLD.tags, OLD.owner_user_id, OLD.visibility)
    IS DISTINCT FROM (NEW.slug, NEW.tags, NEW.owner_user_id, NEW.visibility) THEN
    PERFORM note_connection_farewell(OLD);
  END IF;
  -- Deleted by the same transaction, it is no change any more.
  IF EXISTS (SELECT FROM connections c WHERE c.org_id = NEW.org_id AND c.id = NEW.id) THEN
    PERFORM note_connection_change(NEW.org_id, NEW.id, NEW.environment);
  END IF;
  RETURN NULL;
END
$$;
--> statement-breakpoint
CREATE CONSTRAINT TRIGGER note_connection AFTER INSERT OR UPDATE OR DELETE ON connections
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_connection();
--> statement-breakpoint
CREATE FUNCTION note_connection_of() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  PERFORM note_connection_change(c.org_id, c.id, c.environment)
  FROM connections c WHERE c.org_id = NEW.org_id AND c.id = NEW.connection_id;
  RETURN NULL;
END
$$;
--> statement-breakpoint
-- Another credential, or another end of it; sealed anew it is the same.
CREATE CONSTRAINT TRIGGER note_connection_of_credential AFTER UPDATE ON credentials
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN ((OLD.fingerprint, OLD.expires_at) IS DISTINCT FROM (NEW.fingerprint, NEW.expires_at))
  EXECUTE FUNCTION note_connection_of();
--> statement-breakpoint
-- A test or a call found another state than the last probe; what probes find, `record_probes` notes for all at once.
CREATE CONSTRAINT TRIGGER note_connection_of_answer AFTER UPDATE ON connection_health
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (
    OLD.last_checked_at IS NOT DISTINCT FROM NEW.last_checked_at AND (
      OLD.last_error_at IS DISTINCT FROM NEW.last_error_at
      OR (OLD.last_healthy_at IS NULL) <> (NEW.last_healthy_at IS NULL)
      -- It was unhealthy by then, be it because nothing was asked.
      OR NEW.last_healthy_at - OLD.last_healthy_at > interval '5 minutes'
      OR coalesce(OLD.last_healthy_at <= OLD.last_error_at AND NEW.last_healthy_at > NEW.last_error_at, false)
    )
  )
  EXECUTE FUNCTION note_connection_of();
--> statement-breakpoint
INSERT INTO connection_heads (org_id, seq) SELECT org_id, count(*) FROM connections GROUP BY org_id;
--> statement-breakpoint
INSERT INTO connection_changes (org_id, connection_id, environment, seq)
SELECT org_id, id, environment, row_number() OVER (PARTITION BY org_id ORDER BY id) FROM connections;
--> statement-breakpoint
-- As the one with three arguments, which the previous release calls. At most so many are claimed of one organisation
-- at a time, and none of those that are full: theirs stay due, and the oldest come first when there is room. Says also
-- since when each is due. Planned with the numbers at hand: as releases before 18
-- plan functions in SQL, for any numbers, each claim would read the whole table.
CREATE FUNCTION claim_due_probes(
  wanted text, now timestamptz, most integer, most_of_one integer, full_orgs text[]
) RETURNS TABLE (org_id text, connection_id text, base_url text, declared boolean, due_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY WITH due AS (
    SELECT h.ctid AS place, h.org_id, h.next_due_at, c.base_url, c.active,
      c.status = 'ACTIVE' AND c.recipe -> 'probe' IS NOT NULL
        AND coalesce(c.recipe -> 'probe' ->> 'onDemandOnly', 'false') <> 'true' AS declared
    FROM connection_health h
    JOIN connections c ON c.org_id = h.org_id AND c.id = h.connection_id AND c.environment = wanted
    WHERE h.next_due_at <= now AND h.org_id <> ALL (full_orgs)
    ORDER BY h.next_due_at
    LIMIT most
    FOR UPDATE OF h SKIP LOCKED
  ), ranked AS (
    SELECT due.*, row_number() OVER (PARTITION BY due.org_id ORDER BY due.next_due_at) AS n FROM due
  ), claimed AS (
    UPDATE connection_health h
    SET next_due_at = now + interval '54 seconds' + random() * interval '12 seconds'
    FROM ranked r
    WHERE h.ctid = r.place AND r.n <= most_of_one
    RETURNING h.org_id, h.connection_id, r.base_url, r.declared, r.next_due_at, r.active
  )
  SELECT c.org_id, c.connection_id, c.base_url, c.declared, c.next_due_at::timestamptz FROM claimed c WHERE c.active;
END
$$;
--> statement-breakpoint
-- As before, with the latency and the end of the service's certificate. Another state than before, healthy or a stage
-- that failed, is a transition: a connection keeps its last fifty. A result from before the recorded one counts for
-- nothing, unless it is so much older that a clock was set back.
CREATE OR REPLACE FUNCTION record_probes(found json)
RETURNS TABLE (org_id text, connection_id text, error text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
#variable_conflict use_column
DECLARE
  -- By its own name, `found`, it would be that of every plpgsql function.
  outcomes ALIAS FOR $1;
  changed record;
  moved_orgs text[] := '{}';
  moved_ids text[] := '{}';
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
      SELECT r.*, h.ctid AS place, h.last_error AS earlier, h.last_checked_at IS NOT NULL AS known, h.state AS was_state,
        h.unhealthy_since AS was_since, h.last_healthy_at AS healthy_at,
        h.certificate_expires_at AS was_certificate, c.slug, c.integration,
        CASE WHEN r.error IS NULL THEN 'healthy' ELSE coalesce(r.stage, 'HTTP') END AS is_state,
        r.error IS NOT NULL AND r.at - coalesce(h.last_healthy_at, c.created_at) > interval '5 minutes' AS is_unhealthy
      FROM json_to_recordset(outcomes) AS r (
        "orgId" text, "connectionId" text, "baseUrl" text, at timestamptz, stage text, error text,
        "latencyMs" integer, answered boolean, "certificateExpiresAt" timestamptz
      )
      JOIN connections c ON c.org_id = "orgId" AND c.id = "connectionId" AND c.base_url = "baseUrl"
      JOIN connection_health h ON h.org_id = "orgId" AND h.connection_id = "connectionId"
    ), recorded AS (
      UPDATE connection_health h
      SET last_checked_at = result.at,
          last_error = result.error,
          last_error_stage = result.stage,
          last_error_at = CASE WHEN result.error IS NOT NULL THEN result.at END,
          last_healthy_at = CASE
            WHEN result.error IS NOT NULL
              OR h.last_healthy_at BETWEEN result.at AND result.at + interval '2 minutes' THEN h.last_healthy_at
            ELSE result.at
          END,
          unhealthy_since = CASE WHEN result.is_unhealthy THEN coalesce(h.unhealthy_since, result.at) END,
          state = result.is_state,
          transitions = h.transitions + (h.state IS DISTINCT FROM result.is_state)::integer,
          recent_at = (h.recent_at || result.at)[cardinality(h.recent_at) - 22 :],
          recent_ms = (h.recent_ms || result."latencyMs")[cardinality(h.recent_ms) - 22 :],
          certificate_expires_at = CASE WHEN result.answered
            THEN result."certificateExpiresAt" ELSE h.certificate_expires_at END
      FROM result
      WHERE h.ctid = result.place
        AND (h.last_checked_at IS NULL OR h.last_checked_at <= result.at
          OR h.last_checked_at > result.at + interval '2 minutes')
      RETURNING h.org_id, h.connection_id, h.last_error, h.last_error_stage, h.last_healthy_at, h.unhealthy_since,
        h.state, h.transitions, h.certificate_expires_at, result.at, result.earlier, result.known, result.was_since,
        result.was_state, result.healthy_at, result.was_certificate, result.slug, result.integration
    ), named AS (
      SELECT r.*,
        (r.last_error IS NULL) <> (r.earlier IS NULL) AND (r.known OR r.last_error IS NOT NULL) AS is_other,
        (r.unhealthy_since IS NULL) <> (r.was_since IS NULL) AS is_news,
        r.state IS DISTINCT FROM r.was_state AS is_transition,
        -- What connections show otherwise; by the time, it may have been unhealthy though no probe had said so.
        (r.last_error, r.certificate_expires_at) IS DISTINCT FROM (r.earlier, r.was_certificate)
          OR coalesce(r.last_healthy_at - r.healthy_at > interval '5 minutes', false) AS is_shown
      FROM recorded r
    ), noted AS (
      INSERT INTO connection_transitions AS t (org_id, connection_id, slot, at, stage, error)
      SELECT n.org_id, n.connection_id, n.transitions % 50, n.at, n.last_error_stage, n.last_error
      FROM named n WHERE n.is_transition
      ON CONFLICT (org_id, connection_id, slot) DO UPDATE
      SET at = excluded.at, stage = excluded.stage, error = excluded.error
    )
    SELECT * FROM named n WHERE n.is_other OR n.is_news OR n.is_transition OR n.is_shown
    -- The order in which logs are locked.
    ORDER BY n.org_id, n.connection_id
  LOOP
    moved_orgs := moved_orgs || changed.org_id;
    moved_ids := moved_ids || changed.connection_id;
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

  -- Last, and one organisation after the other.
  FOR changed IN
    SELECT m.org, array_agg(m.id ORDER BY m.n) AS ids
    FROM unnest(moved_orgs, moved_ids) WITH ORDINALITY AS m (org, id, n) GROUP BY m.org ORDER BY m.org
  LOOP
    INSERT INTO connection_changes AS k (org_id, connection_id, environment, seq)
    SELECT c.org_id, c.id, c.environment, head.seq - cardinality(changed.ids) + i.n
    FROM next_connection_seqs(changed.org, cardinality(changed.ids)) AS head (seq),
      unnest(changed.ids) WITH ORDINALITY AS i (id, n)
    JOIN connections c ON c.org_id = changed.org AND c.id = i.id
    ON CONFLICT (org_id, connection_id) DO UPDATE SET seq = excluded.seq;
  END LOOP;
END
$$;
--> statement-breakpoint
-- Forgets transitions and farewells from before these moments; a reader whose position is before a farewell that is
-- forgotten begins anew. What is due later than one period from now was put off by a clock that was ahead: it is due now.
CREATE FUNCTION keep_health(now timestamptz, transitions_before timestamptz, farewells_before timestamptz)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
DECLARE
  forgotten record;
BEGIN
  UPDATE connection_health h SET next_due_at = now
  FROM (
    SELECT d.org_id, d.connection_id FROM connection_health d WHERE d.next_due_at > now + interval '5 minutes'
    ORDER BY d.org_id, d.connection_id FOR UPDATE SKIP LOCKED
  ) d
  WHERE h.org_id = d.org_id AND h.connection_id = d.connection_id;
  DELETE FROM connection_transitions t USING (
    SELECT o.org_id, o.connection_id, o.slot FROM connection_transitions o WHERE o.at < transitions_before
    FOR UPDATE SKIP LOCKED
  ) o
  WHERE t.org_id = o.org_id AND t.connection_id = o.connection_id AND t.slot = o.slot;
  FOR forgotten IN
    SELECT f.org_id, max(f.seq) AS seq FROM connection_farewells f WHERE f.at < farewells_before
    GROUP BY f.org_id ORDER BY f.org_id
  LOOP
    UPDATE connection_heads h SET kept_from = greatest(h.kept_from, forgotten.seq) WHERE h.org_id = forgotten.org_id;
    DELETE FROM connection_farewells f WHERE f.org_id = forgotten.org_id AND f.seq <= forgotten.seq;
  END LOOP;
END
$$;
--> statement-breakpoint
-- Which of these organisations' connections have changed since these numbers, and how far they are.
CREATE FUNCTION moved_connections(orgs text[], seqs bigint[]) RETURNS TABLE (org_id text, seq bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
  SELECT h.org_id, h.seq FROM unnest(orgs, seqs) AS u (org, seq) JOIN connection_heads h ON h.org_id = u.org AND h.seq > u.seq
$$;
--> statement-breakpoint
REVOKE EXECUTE ON FUNCTION
  forget_health(),
  forget_transitions(),
  next_connection_seqs(text, integer),
  note_connection_change(text, text, text),
  note_connection_farewell(connections),
  note_connection(),
  note_connection_of(),
  claim_due_probes(text, timestamptz, integer, integer, text[]),
  keep_health(timestamptz, timestamptz, timestamptz),
  moved_connections(text[], bigint[])
FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION
  claim_due_probes(text, timestamptz, integer, integer, text[]),
  keep_health(timestamptz, timestamptz, timestamptz),
  moved_connections(text[], bigint[])
TO patchbay_app;
