-- What a sender's request is taken by. The channel is all that a sender names, so its organisation is not known before.
-- One row for each secret that may still be good, and one without a secret if there is none.
CREATE FUNCTION find_receiving_channel(channel text, served text, at timestamptz) RETURNS TABLE (
  org_id text, kind text, config json, segment_hash bytea,
  version integer, sealed bytea, kek_version integer, wrapped_key bytea, valid_until timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'
AS $$
  SELECT c.org_id, c.kind, c.config, c.segment_hash, s.version, s.sealed, s.kek_version, k.wrapped_key, s.valid_until
  FROM channels c
  LEFT JOIN channel_secrets s ON s.org_id = c.org_id AND s.channel_id = c.id
    AND (s.valid_until IS NULL OR s.valid_until > at)
  LEFT JOIN org_keys k ON k.org_id = c.org_id AND k.purpose = 'kek' AND k.version = s.kek_version
  WHERE c.id = channel AND c.environment = served AND c.kind IN ('webhook', 'cloudevents')
  ORDER BY s.version DESC
$$;
--> statement-breakpoint
REVOKE EXECUTE ON FUNCTION find_receiving_channel(text, text, timestamptz) FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION find_receiving_channel(text, text, timestamptz) TO patchbay_app;
--> statement-breakpoint
-- Not when it is made: an id of 80 random bits cannot have been asked for before.
CREATE FUNCTION announce_channel() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  PERFORM announce('channel/' || OLD.org_id || '/' || OLD.id);
  RETURN NULL;
END
$$;
--> statement-breakpoint
CREATE TRIGGER announce_channel AFTER UPDATE OR DELETE ON channels
  FOR EACH ROW EXECUTE FUNCTION announce_channel();
--> statement-breakpoint
CREATE FUNCTION announce_channel_of_secret() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  PERFORM announce('channel/' || NEW.org_id || '/' || NEW.channel_id);
  RETURN NULL;
END
$$;
--> statement-breakpoint
CREATE TRIGGER announce_channel AFTER INSERT OR UPDATE ON channel_secrets
  FOR EACH ROW EXECUTE FUNCTION announce_channel_of_secret();
