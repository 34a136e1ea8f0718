-- Which key a secret belongs to and what it is never change; until when it is good, and when it was used, do.
GRANT UPDATE (valid_until, last_used_at) ON api_key_secrets TO patchbay_app;
--> statement-breakpoint
DROP FUNCTION find_api_key(bytea);
--> statement-breakpoint
-- What a presented secret was issued for. Its organisation is not known before, so this looks past row
-- security: for one exact hash, which nobody can make without the pepper and the secret.
CREATE FUNCTION find_api_key(presented bytea)
RETURNS TABLE (
  org_id text, key_id text, name text, environment text, scopes text[], active_user_id text,
  expires_at timestamptz, revoked_at timestamptz, valid_until timestamptz
) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
  SELECT k.org_id, k.id, k.name, k.environment, k.scopes, u.id, k.expires_at, k.revoked_at, s.valid_until
  FROM api_key_secrets s
  JOIN api_keys k ON k.org_id = s.org_id AND k.id = s.key_id
  LEFT JOIN users u ON u.org_id = k.org_id AND u.id = k.act_as_user_id AND u.status = 'active'
  WHERE s.secret_hash = presented
$$;
--> statement-breakpoint
REVOKE EXECUTE ON FUNCTION find_api_key(bytea) FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION find_api_key(bytea) TO patchbay_app;
