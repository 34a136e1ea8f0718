-- When the organisation's keys were destroyed, so that nothing that was sealed for it opens any more.
ALTER TABLE orgs ADD COLUMN shredded_at timestamp (3) with time zone;
--> statement-breakpoint
-- When nothing was left to be deleted of a shredded organisation, so that it is looked for no more.
ALTER TABLE orgs ADD COLUMN erased_at timestamp (3) with time zone;
--> statement-breakpoint
-- When another root key wraps the key, by whom it was wrapped before, and a hash of those bytes: whoever has read them
-- still knows whom to ask.
ALTER TABLE org_keys ADD COLUMN earlier_hash bytea, ADD COLUMN earlier_root_key_id text COLLATE "C";
--> statement-breakpoint
-- The key that the transaction's organisation seals with from now on, held to the end of the transaction: what is sealed
-- with it is committed before anybody can find it unused and destroy it. Locking a row takes the right to update it,
-- and the serving role has none on keys.
CREATE FUNCTION hold_org_key() RETURNS TABLE (version integer, wrapped_key bytea)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
  SELECT k.version, k.wrapped_key FROM org_keys k
  WHERE k.org_id = app_org_id() AND k.purpose = 'kek' AND k.wrapped_key IS NOT NULL
  ORDER BY k.version DESC LIMIT 1
  FOR SHARE
$$;
--> statement-breakpoint
-- Whether anything of the organisation is sealed with this version of its key. Looks into every table that says which
-- version that is, so that no key is destroyed for a table that re-sealing does not know.
CREATE FUNCTION org_key_is_used(org text, wanted integer) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
DECLARE
  place record;
  found_one boolean;
BEGIN
  FOR place IN
    SELECT c.oid::regclass AS in_table, a.attname AS in_column
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND a.attname LIKE '%kek\_version' AND NOT a.attisdropped
  LOOP
    EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE org_id = $1 AND %I = $2)', place.in_table, place.in_column)
    INTO found_one USING org, wanted;
    IF found_one THEN RETURN true; END IF;
  END LOOP;
  RETURN false;
END
$$;
--> statement-breakpoint
-- Destroys the replaced keys of the transaction's organisation that nothing is sealed with, and answers which.
--
-- The lock comes first, and does not wait: whoever still seals with a key holds it, and what they seal is not to be seen
-- before they commit. It may fail for that, and then succeeds later.
CREATE FUNCTION destroy_replaced_org_keys() RETURNS SETOF integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
BEGIN
  PERFORM FROM org_keys k
  WHERE k.org_id = app_org_id() AND k.purpose = 'kek' AND k.wrapped_key IS NOT NULL
    AND k.version < (SELECT max(n.version) FROM org_keys n WHERE n.org_id = app_org_id() AND n.purpose = 'kek')
  FOR UPDATE NOWAIT;

  RETURN QUERY
  UPDATE org_keys k SET wrapped_key = NULL
  WHERE k.org_id = app_org_id() AND k.purpose = 'kek' AND k.wrapped_key IS NOT NULL
    AND k.version < (SELECT max(n.version) FROM org_keys n WHERE n.org_id = app_org_id() AND n.purpose = 'kek')
    AND NOT org_key_is_used(k.org_id, k.version)
  RETURNING k.version;
END
$$;
--> statement-breakpoint
-- The organisations whose key was replaced, and whose earlier one is not destroyed yet; behind an id, in their order.
CREATE FUNCTION orgs_with_replaced_keys(after text, most integer) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
  SELECT k.org_id FROM org_keys k WHERE k.purpose = 'kek' AND k.wrapped_key IS NOT NULL AND k.org_id > after
  GROUP BY k.org_id HAVING count(*) > 1 ORDER BY k.org_id LIMIT most
$$;
--> statement-breakpoint
-- Under which root keys the keys are wrapped that are not destroyed, and how many.
CREATE FUNCTION used_root_keys() RETURNS TABLE (root_key_id text, wrapped bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
  SELECT k.root_key_id, count(*) FROM (
    SELECT o.root_key_id FROM org_keys o WHERE o.wrapped_key IS NOT NULL
    UNION ALL SELECT s.root_key_id FROM service_keys s
  ) k GROUP BY k.root_key_id
$$;
--> statement-breakpoint
-- The same key, wrapped by another root key. Only in place of what was unwrapped: it may be destroyed, or be wrapped anew
-- by another process, meanwhile.
CREATE FUNCTION rewrap_org_key(wanted integer, known bytea, rewrapped bytea, root text) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
  WITH changed AS (
    UPDATE org_keys k SET wrapped_key = rewrapped, root_key_id = root,
      earlier_hash = sha256(k.wrapped_key), earlier_root_key_id = k.root_key_id
    WHERE k.org_id = app_org_id() AND k.purpose = 'kek' AND k.version = wanted AND k.wrapped_key = known
    RETURNING 1
  ) SELECT EXISTS (SELECT FROM changed)
$$;
--> statement-breakpoint
CREATE FUNCTION rewrap_service_key(wanted_purpose text, wanted integer, known bytea, rewrapped bytea, root text)
RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
  WITH changed AS (
    UPDATE service_keys k SET wrapped_key = rewrapped, root_key_id = root
    WHERE k.purpose = wanted_purpose AND k.version = wanted AND k.wrapped_key = known
    RETURNING 1
  ) SELECT EXISTS (SELECT FROM changed)
$$;
--> statement-breakpoint
-- Destroys all keys of an organisation, with the record of it; false if that was done before. For the owner of the
-- database alone: nothing that the service is made to do can destroy keys that are in use.
CREATE FUNCTION shred_organization(org text, details json) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
BEGIN
  UPDATE orgs SET shredded_at = clock_timestamp() WHERE id = org AND shredded_at IS NULL;
  IF NOT FOUND THEN RETURN false; END IF;
  -- First the lock, and then another statement: a key that was made while this waited is to be destroyed, too.
  PERFORM FROM org_keys WHERE org_id = org FOR UPDATE;
  UPDATE org_keys SET wrapped_key = NULL WHERE org_id = org AND wrapped_key IS NOT NULL;
  PERFORM announce('organization/' || org);
  PERFORM set_config('app.org_id', org, true);
  PERFORM audit_append('organization.shred', org, NULL, NULL, NULL, details);
  RETURN true;
END
$$;
--> statement-breakpoint
-- Deletes what shredded organisations have that nothing opens any more, and what was said beside it, at most this many
-- rows of each table or partition at a time, and answers how many it deleted. Until then, what goes on by itself still
-- comes upon it, and fails.
CREATE FUNCTION erase_shredded(most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
DECLARE
  gone text[] := (SELECT array_agg(id) FROM orgs WHERE shredded_at IS NOT NULL AND erased_at IS NULL);
  -- Of logs: those that say what happened to the service itself are of the audit record, and their heads stay.
  of_log text := 'AND (org_id, log) NOT IN (SELECT h.org_id, h.log FROM log_heads h WHERE h.sealed_key IS NULL)';
  place record;
  deleted bigint;
  total bigint := 0;
BEGIN
  IF gone IS NULL THEN RETURN 0; END IF;
  -- Partition by partition: a row's place is its place in one of them.
  FOR place IN
    SELECT coalesce(t.relid, kind.name::regclass) AS leaf, kind.condition FROM (VALUES
      (1, 'connections', ''), (2, 'webhook_endpoints', ''), (3, 'channels', ''), (4, 'oauth_clients', ''),
      (5, 'log_heads', 'AND sealed_key IS NOT NULL'), (6, 'log_days', of_log), (7, 'events', of_log),
      (8, 'receipts', of_log), (9, 'event_groups', ''), (10, 'webhook_attempts', ''),
      (11, 'connection_transitions', ''), (12, 'idempotent_requests', '')
    ) kind (place, name, condition)
    LEFT JOIN LATERAL pg_partition_tree(kind.name::regclass) t ON t.isleaf
    ORDER BY kind.place
  LOOP
    EXECUTE format(
      'DELETE FROM %1$s t USING (SELECT ctid FROM %1$s WHERE org_id = ANY ($1) %2$s LIMIT $2 FOR UPDATE SKIP LOCKED) d '
      'WHERE t.ctid = d.ctid', place.leaf, place.condition)
    USING gone, most;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    total := total + deleted;
  END LOOP;
  -- Whatever was under way when it was shredded is over by then.
  IF total = 0 THEN
    UPDATE orgs SET erased_at = clock_timestamp()
    WHERE id = ANY (gone) AND shredded_at < clock_timestamp() - interval '1 hour';
  END IF;
  RETURN total;
END
$$;
--> statement-breakpoint
-- Of one small table.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX orgs_to_be_erased ON orgs (id) WHERE shredded_at IS NOT NULL AND erased_at IS NULL;
--> statement-breakpoint
-- As before, but the keys of a shredded organisation are unknown.
CREATE OR REPLACE FUNCTION find_api_key(peppered bytea, plain bytea)
RETURNS TABLE (
  org_id text, key_id text, secret_hash bytea, name text, environment text, scopes text[], active_user_id text,
  bound_user_id text, expires_at timestamptz, revoked_at timestamptz, valid_until timestamptz, was_used boolean,
  rate_limit_per_minute integer, caller_service_slug text, allowed_cidrs text[], metadata json, connections json
) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
  SELECT k.org_id, k.id, s.secret_hash, k.name, k.environment, k.scopes, u.id, k.act_as_user_id, k.expires_at,
    k.revoked_at, s.valid_until, s.last_used_at IS NOT NULL, k.rate_limit_per_minute, k.caller_service_slug,
    k.allowed_cidrs, k.metadata, k.connections
  FROM api_key_secrets s
  JOIN api_keys k ON k.org_id = s.org_id AND k.id = s.key_id
  JOIN orgs o ON o.id = k.org_id AND o.shredded_at IS NULL
  LEFT JOIN users u ON u.org_id = k.org_id AND u.id = k.act_as_user_id AND u.status = 'active'
  WHERE (s.secret_hash = peppered AND s.hash_kind = 'peppered') OR (s.secret_hash = plain AND s.hash_kind = 'sha256')
  ORDER BY s.hash_kind = 'peppered' DESC
  LIMIT 1
$$;
--> statement-breakpoint
-- As before, but a shredded organisation has no channel that receives anything.
CREATE OR REPLACE FUNCTION find_receiving_channel(channel text, served text, at timestamptz) RETURNS TABLE (
  org_id text, kind text, config json, segment_hash bytea,
  version integer, sealed bytea, kek_version integer, wrapped_key bytea, valid_until timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
  SELECT c.org_id, c.kind, c.config, c.segment_hash, s.version, s.sealed, s.kek_version, k.wrapped_key, s.valid_until
  FROM channels c
  JOIN orgs o ON o.id = c.org_id AND o.shredded_at IS NULL
  LEFT JOIN channel_secrets s ON s.org_id = c.org_id AND s.channel_id = c.id
    AND (s.valid_until IS NULL OR s.valid_until > at)
  LEFT JOIN org_keys k ON k.org_id = c.org_id AND k.purpose = 'kek' AND k.version = s.kek_version
  WHERE c.id = channel AND c.environment = served AND c.kind IN ('webhook', 'cloudevents')
  ORDER BY s.version DESC
$$;
--> statement-breakpoint
REVOKE EXECUTE ON FUNCTION
  hold_org_key(), org_key_is_used(text, integer), destroy_replaced_org_keys(), orgs_with_replaced_keys(text, integer),
  used_root_keys(), rewrap_org_key(integer, bytea, bytea, text), rewrap_service_key(text, integer, bytea, bytea, text),
  shred_organization(text, json), erase_shredded(integer)
FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION
  hold_org_key(), destroy_replaced_org_keys(), orgs_with_replaced_keys(text, integer),
  used_root_keys(), rewrap_org_key(integer, bytea, bytea, text), rewrap_service_key(text, integer, bytea, bytea, text),
  erase_shredded(integer)
TO patchbay_app;
