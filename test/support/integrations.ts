import type { Integration } from "#src/integrations/integration.ts";
import { standardMethods } from "#src/integrations/standard.ts";
import type { TestService } from "./service.ts";

/** Defines an integration of the service's first organisation, or replaces it. */
export async function define(
  { postgres, org, clock }: TestService,
  slug: string,
  more: Partial<Integration>,
): Promise<void> {
  const definition = { slug, name: slug, authMethods: standardMethods, version: 1, ...more };
  await postgres.asOwner(
    `insert into integrations (org_id, slug, version, definition, created_at, updated_at)
     values ($1, $2, $3, $4, $5, $5)
     on conflict (org_id, slug) do update set version = excluded.version, definition = excluded.definition`,
    [org.orgId, slug, definition.version, JSON.stringify(definition), clock.now().toISOString()],
  );
}
