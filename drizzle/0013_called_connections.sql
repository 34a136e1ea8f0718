-- What calls through a connection need is remembered between them: where it leads, its sealed credential, and the
-- organisation's key that this was sealed with. Says when any of it is old. Nothing is said of what is new: nobody
-- can have called through it before.
CREATE FUNCTION announce_connection() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  PERFORM announce('connection/' || OLD.org_id || '/' || OLD.id);
  RETURN NULL;
END
$$;
--> statement-breakpoint
CREATE FUNCTION announce_connection_of_credential() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  PERFORM announce('connection/' || OLD.org_id || '/' || OLD.connection_id);
  RETURN NULL;
END
$$;
--> statement-breakpoint
CREATE FUNCTION announce_org_key() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  PERFORM announce('org-key/' || OLD.org_id || '/' || OLD.version);
  RETURN NULL;
END
$$;
--> statement-breakpoint
CREATE TRIGGER announce_connection AFTER UPDATE OR DELETE ON connections
  FOR EACH ROW EXECUTE FUNCTION announce_connection();
--> statement-breakpoint
CREATE TRIGGER announce_connection AFTER UPDATE OR DELETE ON credentials
  FOR EACH ROW EXECUTE FUNCTION announce_connection_of_credential();
--> statement-breakpoint
CREATE TRIGGER announce_org_key AFTER UPDATE OR DELETE ON org_keys
  FOR EACH ROW EXECUTE FUNCTION announce_org_key();
