ALTER TABLE "connection_health" ADD COLUMN "unhealthy_since" timestamp (3) with time zone;--> statement-breakpoint
CREATE TABLE "api_key_ends" (
	"org_id" text collate "C" NOT NULL,
	"key_id" text collate "C" NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL,
	"days_left" integer NOT NULL,
	CONSTRAINT "api_key_ends_org_id_key_id_pk" PRIMARY KEY("org_id","key_id")
);
--> statement-breakpoint
ALTER TABLE "api_key_ends" ADD CONSTRAINT "api_key_ends_org_id_key_id_api_keys_org_id_id_fk" FOREIGN KEY ("org_id","key_id") REFERENCES "public"."api_keys"("org_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX "api_keys_expiry" ON "api_keys" USING btree ("expires_at") WHERE "api_keys"."expires_at" is not null and "api_keys"."revoked_at" is null;
--> statement-breakpoint
SELECT protect_table('api_key_ends');
--> statement-breakpoint
REVOKE INSERT, UPDATE, DELETE ON api_key_ends FROM patchbay_app;
--> statement-breakpoint
-- What is over is no news.
INSERT INTO api_key_ends (org_id, key_id, expires_at, days_left)
SELECT org_id, id, expires_at, 0 FROM api_keys WHERE expires_at <= now();
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
-- A moment as JSON has it.
CREATE FUNCTION iso_time(moment timestamptz) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$ SELECT to_char(moment, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') $$;
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
REVOKE EXECUTE ON FUNCTION iso_time(timestamptz), announce_key_ends(text, timestamptz, integer) FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION announce_key_ends(text, timestamptz, integer) TO patchbay_app;
