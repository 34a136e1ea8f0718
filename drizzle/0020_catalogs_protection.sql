SELECT protect_table('catalogs');
--> statement-breakpoint
SELECT protect_table('catalog_revisions');
--> statement-breakpoint
SELECT protect_table('catalog_operations');
--> statement-breakpoint
SELECT protect_table('catalog_definitions');
--> statement-breakpoint
SELECT protect_table('operation_drift');
--> statement-breakpoint
-- Which import of a service is in force is remembered between calls. That there is none, is as well.
CREATE FUNCTION announce_catalog() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  PERFORM announce('catalog/' || coalesce(OLD.org_id, NEW.org_id) || '/' || coalesce(OLD.slug, NEW.slug));
  RETURN NULL;
END
$$;
--> statement-breakpoint
CREATE TRIGGER announce_catalog AFTER INSERT OR UPDATE OR DELETE ON catalogs
  FOR EACH ROW EXECUTE FUNCTION announce_catalog();
