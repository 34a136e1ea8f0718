SELECT protect_table('idempotent_requests');
--> statement-breakpoint
REVOKE UPDATE ON idempotent_requests FROM patchbay_app;
--> statement-breakpoint
-- No release has these tables.
-- squawk-ignore constraint-missing-not-valid, adding-foreign-key-constraint
ALTER TABLE credentials ADD CONSTRAINT credentials_principal
  FOREIGN KEY (org_id, principal_key_id) REFERENCES api_keys (org_id, id);
--> statement-breakpoint
DROP FUNCTION find_api_key(bytea);
--> statement-breakpoint
-- What a presented secret was issued for. Its organisation is not known before, so this looks past row
-- security: for one exact hash, which nobody can make without the secret. Should one organisation have given
-- the key and another its mere hash, it belongs to the one that had the key.
CREATE FUNCTION find_api_key(peppered bytea, plain bytea)
RETURNS TABLE (
  org_id text, key_id text, secret_hash bytea, name text, environment text, scopes text[], active_user_id text,
  expires_at timestamptz, revoked_at timestamptz, valid_until timestamptz, rate_limit_per_minute integer,
  caller_service_slug text, allowed_cidrs text[], metadata json
) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
  SELECT k.org_id, k.id, s.secret_hash, k.name, k.environment, k.scopes, u.id, k.expires_at, k.revoked_at,
    s.valid_until, k.rate_limit_per_minute, k.caller_service_slug, k.allowed_cidrs, k.metadata
  FROM api_key_secrets s
  JOIN api_keys k ON k.org_id = s.org_id AND k.id = s.key_id
  LEFT JOIN users u ON u.org_id = k.org_id AND u.id = k.act_as_user_id AND u.status = 'active'
  WHERE (s.secret_hash = peppered AND s.hash_kind = 'peppered') OR (s.secret_hash = plain AND s.hash_kind = 'sha256')
  ORDER BY s.hash_kind = 'peppered' DESC
  LIMIT 1
$$;
--> statement-breakpoint
-- Whether a key was ever imported into this environment. Only then can a key without our check digits be one.
CREATE FUNCTION imported_keys_exist(wanted text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$ SELECT EXISTS (SELECT FROM api_keys WHERE kind = 'imported' AND environment = wanted) $$;
--> statement-breakpoint
REVOKE EXECUTE ON FUNCTION find_api_key(bytea, bytea), imported_keys_exist(text) FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION find_api_key(bytea, bytea), imported_keys_exist(text) TO patchbay_app;
--> statement-breakpoint
-- Says, when the transaction commits, that what is remembered of something is old: to every replica, and through
-- settle_change to the one that commits. Of many things together: one by one, each would copy all before it.
CREATE FUNCTION announce(VARIADIC things text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  PERFORM pg_notify('patchbay', thing) FROM unnest(things) AS thing;
  PERFORM set_config(
    'app.announced',
    concat_ws(' ', nullif(current_setting('app.announced', true), ''), array_to_string(things, ' ')),
    true);
END
$$;
--> statement-breakpoint
CREATE FUNCTION announce_key() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  PERFORM announce('key/' || NEW.org_id || '/' || NEW.id);
  RETURN NULL;
END
$$;
--> statement-breakpoint
-- A replica that knows of no imported key looks up nothing without our check digits. And what is imported may have
-- been presented before, and be remembered as unknown.
CREATE FUNCTION announce_import() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  PERFORM announce('import/' || NEW.environment);
  RETURN NULL;
END
$$;
--> statement-breakpoint
CREATE FUNCTION announce_key_of_secret() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  PERFORM announce('key/' || NEW.org_id || '/' || NEW.key_id);
  RETURN NULL;
END
$$;
--> statement-breakpoint
CREATE FUNCTION announce_keys_of_user() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  PERFORM announce(VARIADIC array_agg('key/' || org_id || '/' || id)) FROM api_keys
  WHERE org_id = NEW.org_id AND act_as_user_id = NEW.id;
  RETURN NULL;
END
$$;
--> statement-breakpoint
CREATE TRIGGER announce_key AFTER UPDATE ON api_keys
  FOR EACH ROW EXECUTE FUNCTION announce_key();
--> statement-breakpoint
CREATE TRIGGER announce_import AFTER INSERT ON api_keys
  FOR EACH ROW WHEN (NEW.kind = 'imported') EXECUTE FUNCTION announce_import();
--> statement-breakpoint
-- Not when it is noted that the secret was used. Nor when one is issued: nobody can have presented it before.
CREATE TRIGGER announce_end AFTER UPDATE OF valid_until ON api_key_secrets
  FOR EACH ROW WHEN (OLD.valid_until IS DISTINCT FROM NEW.valid_until) EXECUTE FUNCTION announce_key_of_secret();
--> statement-breakpoint
CREATE TRIGGER announce_keys AFTER UPDATE OF status ON users
  FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION announce_keys_of_user();
--> statement-breakpoint
DROP FUNCTION audit_required();
--> statement-breakpoint
-- Goes right before the commit of every change: one that leaves no audit event does not happen. Answers what the
-- change announces, so that its own process has forgotten it before anybody is answered.
CREATE FUNCTION settle_change() RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  IF coalesce(current_setting('app.audited', true), '') <> 'true' THEN
    RAISE EXCEPTION 'the change appended no audit event' USING ERRCODE = 'PB001';
  END IF;
  RETURN nullif(current_setting('app.announced', true), '');
END
$$;
