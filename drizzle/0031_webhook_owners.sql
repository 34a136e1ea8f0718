ALTER TABLE "webhook_endpoints" ADD COLUMN "owner_rights" text;
--> statement-breakpoint
-- What decides which types of events the owner of an endpoint may read, so that a change of it is seen. A key that is over
-- is like any other one that is.
CREATE FUNCTION webhook_owner_rights(k api_keys, moment timestamptz) RETURNS text
LANGUAGE sql STABLE
AS $$
  SELECT CASE
    WHEN k.id IS NULL OR k.revoked_at IS NOT NULL OR k.expires_at <= moment THEN 'ended'
    ELSE md5(json_build_array(k.scopes, k.connections)::text)
  END
$$;
--> statement-breakpoint
-- Endpoints whose owner's rights are not those that were looked at last, of all organisations.
CREATE FUNCTION webhooks_to_review(in_environment text, moment timestamptz, most integer)
RETURNS TABLE (org_id text, id text, rights text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
  SELECT e.org_id, e.id, webhook_owner_rights(k, moment)
  FROM webhook_endpoints e
  LEFT JOIN api_keys k ON k.org_id = e.org_id AND k.id = e.owner_key_id
  WHERE e.environment = in_environment AND e.owner_rights IS DISTINCT FROM webhook_owner_rights(k, moment)
  LIMIT most
$$;
--> statement-breakpoint
REVOKE EXECUTE ON FUNCTION webhook_owner_rights(api_keys, timestamptz), webhooks_to_review(text, timestamptz, integer)
FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION webhooks_to_review(text, timestamptz, integer) TO patchbay_app;
