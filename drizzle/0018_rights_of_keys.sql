-- They are for the services that are called, and use no connection.
UPDATE api_keys SET connections = '[]' WHERE kind = 'service_principal';
--> statement-breakpoint
DROP FUNCTION find_api_key(bytea, bytea);
--> statement-breakpoint
-- What a presented secret was issued for, and whether it was used before. Its organisation is not known before, so
-- this looks past row security: for one exact hash, which nobody can make without the secret. Should one organisation
-- have given the key and another its mere hash, it belongs to the one that had the key.
CREATE FUNCTION find_api_key(peppered bytea, plain bytea)
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
  LEFT JOIN users u ON u.org_id = k.org_id AND u.id = k.act_as_user_id AND u.status = 'active'
  WHERE (s.secret_hash = peppered AND s.hash_kind = 'peppered') OR (s.secret_hash = plain AND s.hash_kind = 'sha256')
  ORDER BY s.hash_kind = 'peppered' DESC
  LIMIT 1
$$;
--> statement-breakpoint
REVOKE EXECUTE ON FUNCTION find_api_key(bytea, bytea) FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION find_api_key(bytea, bytea) TO patchbay_app;
