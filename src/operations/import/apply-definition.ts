import type { CheckUrl } from "#src/integrations/definition-urls.ts";
import { inTurns } from "#src/platform/in-turns.ts";
import type { DerivedDefinition } from "./imported.ts";
import type { Known } from "./known.ts";
import { mergeDefinition, type MergedDefinition } from "./merge-definition.ts";

/** What a document makes of the integration, if that is the organisation's own. */
export async function definitionFor(
  slug: string,
  { isOwn, own, catalog }: Known,
  derived: DerivedDefinition | undefined,
  checkUrl: CheckUrl,
): Promise<Partial<MergedDefinition> & Pick<MergedDefinition, "changes">> {
  if (!isOwn || derived === undefined) return { changes: [] };
  const before = { own, previous: catalog?.definition };
  return inTurns(mergeDefinition(slug, before, derived, checkUrl));
}
