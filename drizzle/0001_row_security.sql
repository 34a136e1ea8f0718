-- The service serves as patchbay_app, which owns nothing, so that row security binds it. The role itself is
-- made by the migration runner, because roles belong to the whole cluster and not to this database.

-- The organisation of the running transaction; null when there is none. After a transaction that set it,
-- the setting is '' and not null.
CREATE FUNCTION app_org_id() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT nullif(pg_catalog.current_setting('app.org_id', true), '') $$;
--> statement-breakpoint
-- Shows and takes only rows of the transaction's organisation. Call it once for each table that has org_id,
-- in the migration that creates the table. The sub-select makes the comparison one per query, not per row.
CREATE FUNCTION protect_table(protected regclass) RETURNS void LANGUAGE plpgsql
AS $$
BEGIN
  EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', protected);
  EXECUTE format(
    'CREATE POLICY own_organisation ON %s TO patchbay_app USING (org_id = (SELECT app_org_id())) WITH CHECK (org_id = (SELECT app_org_id()))',
    protected);
  EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO patchbay_app', protected);
END
$$;
--> statement-breakpoint
REVOKE EXECUTE ON FUNCTION protect_table(regclass) FROM PUBLIC;
--> statement-breakpoint
ALTER TABLE orgs ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY own_organisation ON orgs TO patchbay_app
  USING (id = (SELECT app_org_id())) WITH CHECK (id = (SELECT app_org_id()));
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON orgs TO patchbay_app;
--> statement-breakpoint
SELECT protect_table('users');
--> statement-breakpoint
SELECT protect_table('audit_heads'), protect_table('audit_events');
--> statement-breakpoint
REVOKE INSERT, UPDATE, DELETE ON audit_heads, audit_events FROM patchbay_app;
--> statement-breakpoint
-- Appends one event to the chain of the transaction's organisation, and answers its seq. Call it last: from
-- here to the commit, other changes of the organisation wait.
--
-- The hash is over the previous hash and then each field as its length in bytes (4 bytes, -1 for null) and
-- its UTF-8, so that no two different events have the same bytes. src/audit/verify.ts computes the same.
CREATE FUNCTION audit_append(
  event_action text, event_target text, event_api_key_id text, event_user_id text, event_request_id text,
  event_details json
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
  org text := app_org_id();
  head audit_heads;
  event_at timestamptz(3);
  hashed bytea;
  field text;
BEGIN
  IF org IS NULL THEN
    RAISE EXCEPTION 'an audit event needs an organisation' USING ERRCODE = 'PB002';
  END IF;

  SELECT * INTO head FROM audit_heads WHERE org_id = org FOR UPDATE;
  IF NOT FOUND THEN
    INSERT INTO audit_heads VALUES (org, 0, decode(repeat('00', 32), 'hex')) ON CONFLICT DO NOTHING;
    SELECT * INTO head FROM audit_heads WHERE org_id = org FOR UPDATE;
  END IF;

  event_at := clock_timestamp();
  hashed := head.hash;
  FOREACH field IN ARRAY ARRAY[
    'audit.v1', org, (head.seq + 1)::text, (extract(epoch FROM event_at) * 1000)::bigint::text,
    event_action, event_target, event_api_key_id, event_user_id, event_request_id, event_details::text
  ] LOOP
    hashed := hashed || coalesce(
      int4send(octet_length(convert_to(field, 'UTF8'))) || convert_to(field, 'UTF8'), int4send(-1));
  END LOOP;

  INSERT INTO audit_events (
    org_id, seq, at, action, target, api_key_id, user_id, request_id, details, previous_hash, hash
  ) VALUES (
    org, head.seq + 1, event_at, event_action, event_target, event_api_key_id, event_user_id, event_request_id,
    event_details, head.hash, sha256(hashed)
  );
  UPDATE audit_heads SET seq = head.seq + 1, hash = sha256(hashed) WHERE org_id = org;
  PERFORM set_config('app.audited', 'true', true);
  RETURN head.seq + 1;
END
$$;
--> statement-breakpoint
-- Goes right before the commit of every change: one that leaves no audit event does not happen.
CREATE FUNCTION audit_required() RETURNS void LANGUAGE plpgsql
AS $$
BEGIN
  IF coalesce(pg_catalog.current_setting('app.audited', true), '') <> 'true' THEN
    RAISE EXCEPTION 'the change appended no audit event' USING ERRCODE = 'PB001';
  END IF;
END
$$;
--> statement-breakpoint
REVOKE EXECUTE ON FUNCTION audit_append(text, text, text, text, text, json) FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION audit_append(text, text, text, text, text, json) TO patchbay_app;
--> statement-breakpoint
-- Stops the owner's own slips too; who owns the table can still remove the trigger, and the chain shows it.
CREATE FUNCTION audit_is_final() RETURNS trigger LANGUAGE plpgsql
AS $$
BEGIN
  RAISE EXCEPTION '% on %: audit events are neither changed nor deleted', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'PB003';
END
$$;
--> statement-breakpoint
CREATE TRIGGER audit_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_events
  FOR EACH STATEMENT EXECUTE FUNCTION audit_is_final();
--> statement-breakpoint
CREATE TRIGGER audit_is_final BEFORE DELETE OR TRUNCATE ON audit_heads
  FOR EACH STATEMENT EXECUTE FUNCTION audit_is_final();
