SELECT protect_table('integrations');
--> statement-breakpoint
SELECT protect_table('oauth_clients');
--> statement-breakpoint
SELECT protect_table('fallback_credentials');
--> statement-breakpoint
SELECT protect_table('oauth_grants');
--> statement-breakpoint
SELECT protect_table('oauth_flows');
--> statement-breakpoint
-- A call may be remembered with it, or without one. Of what is inserted OLD says nothing.
CREATE FUNCTION announce_connection_of_fallback() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  PERFORM announce('connection/' || coalesce(OLD.org_id, NEW.org_id) || '/' || coalesce(OLD.connection_id, NEW.connection_id));
  RETURN NULL;
END
$$;
--> statement-breakpoint
CREATE TRIGGER announce_connection AFTER INSERT OR UPDATE OR DELETE ON fallback_credentials
  FOR EACH ROW EXECUTE FUNCTION announce_connection_of_fallback();
