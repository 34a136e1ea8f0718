-- The operations in force of the transaction's organisation that match, best first, after a place in that order. Beside
-- those of its imports, ones that come with Patchbay are given, so that all have one order.
--
-- Runs as the owner, because row security keeps every index from being used by an operator that might leak, such as @@.
-- It answers for no organisation but the transaction's own, and never walks through the rows of all.
CREATE FUNCTION search_operations(
  services text[], sought tsquery, words tsquery, spelled tsquery,
  shipped_slugs text[], shipped_paths text[], shipped_methods text[], shipped_searches text[],
  after_rank real, after_slug text, after_path text, after_method text, most integer
) RETURNS TABLE (slug text, path text, method text, rank real)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET enable_seqscan = off
AS $$
  -- By itself, so that it is found by words, however few services are asked about.
  WITH matching AS MATERIALIZED (
    SELECT c.slug, c.path, c.method, c.search FROM catalog_operations AS c
    WHERE c.org_id = app_org_id() AND c.in_force AND c.search @@ search_operations.sought
  )
  SELECT ranked.slug, ranked.path, ranked.method, ranked.rank
  FROM (
    SELECT o.slug, o.path, o.method,
      coalesce(ts_rank(o.search, search_operations.words), 0)
        + coalesce(ts_rank(o.search, search_operations.spelled), 0) AS rank
    FROM (
      SELECT m.slug, m.path, m.method, m.search FROM matching AS m WHERE m.slug = ANY (search_operations.services)
      UNION ALL
      SELECT s.slug COLLATE "C", s.path COLLATE "C", s.method COLLATE "C", s.search::tsvector
      FROM unnest(
        search_operations.shipped_slugs, search_operations.shipped_paths, search_operations.shipped_methods,
        search_operations.shipped_searches
      ) AS s (slug, path, method, search)
      WHERE s.search::tsvector @@ search_operations.sought
    ) AS o
  ) AS ranked
  WHERE search_operations.after_rank IS NULL OR ranked.rank < search_operations.after_rank
    OR (ranked.rank = search_operations.after_rank AND (ranked.slug, ranked.path, ranked.method)
      > (search_operations.after_slug, search_operations.after_path, search_operations.after_method))
  ORDER BY ranked.rank DESC, ranked.slug, ranked.path, ranked.method
  LIMIT search_operations.most
$$;
--> statement-breakpoint
REVOKE EXECUTE ON FUNCTION search_operations(
  text[], tsquery, tsquery, tsquery, text[], text[], text[], text[], real, text, text, text, integer
) FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION search_operations(
  text[], tsquery, tsquery, tsquery, text[], text[], text[], text[], real, text, text, text, integer
) TO patchbay_app;
