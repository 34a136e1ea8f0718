import { requireSound } from "#src/integrations/definition.ts";
import type { Integration } from "#src/integrations/integration.ts";
import { standardMethods } from "#src/integrations/standard.ts";
import { inTurns } from "#src/platform/in-turns.ts";
import type { DerivedDefinition } from "./imported.ts";
import type { Known } from "./known.ts";

/** Whether a URL can ever be called. Throws if not. */
export type CheckUrl = (url: string) => string;

/** What becomes of the integration. */
export interface DefinitionChange {
  /** Undefined if it stays as it is. */
  readonly next: Integration | undefined;
  /** What changes, for people. */
  readonly changes: readonly string[];
}

const none: DefinitionChange = { next: undefined, changes: [] };

/** What a document makes of the organisation's own integration. Throws for what could never work. */
export async function definitionFor(
  slug: string,
  { isOwn, own }: Known,
  derived: DerivedDefinition | undefined,
  checkUrl: CheckUrl,
): Promise<DefinitionChange> {
  if (!isOwn || derived === undefined || own !== undefined) return none;
  const authMethods = derived.authMethods.length > 0 ? derived.authMethods : standardMethods;
  const next: Integration = { ...derived, slug, authMethods, version: 1 };
  await inTurns(requireSound(next, checkUrl));
  return { next, changes: ["the integration is defined"] };
}
