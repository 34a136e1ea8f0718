import type { CheckUrl } from "#src/integrations/definition-urls.ts";
import { inTurns } from "#src/platform/in-turns.ts";
import type { DerivedDefinition } from "./imported.ts";
import type { Known } from "./known.ts";
import { mergeDefinition, type MergedDefinition } from "./merge-definition.ts";

/** What a document makes of the integration, if that is the organisation's own. */
export async function definitionFor(
  slug: string,
  { isOwn, own, revision }: Known,
  derived: DerivedDefinition | undefined,
  checkUrl: CheckUrl,
): Promise<MergedDefinition> {
  if (!isOwn || derived === undefined) return { next: undefined, changes: [] };
  const before = { own, previous: revision?.definition };
  return inTurns(mergeDefinition(slug, before, derived, checkUrl));
}
