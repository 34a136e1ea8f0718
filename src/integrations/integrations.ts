import type { Tx } from "#src/db/database.ts";
import type { Viewer } from "#src/platform/caller.ts";
import type { Integration } from "./integration.ts";
import { findPreset } from "./presets.ts";
import { isBuiltIn, isCustom } from "./slug.ts";
import { undescribed } from "./standard.ts";
import { getOwn } from "./store.ts";

/** Knows what can be connected, and how. */
export interface Integrations {
  /**
   * A sibling product, a preset or one of the organisation's own. A well-formed `custom:<slug>` that nobody has
   * defined is one too: with a base URL that each connection gives, and the standard methods.
   */
  find(tx: Tx, viewer: Viewer, slug: string): Promise<Integration | undefined>;
}

/** Creates the feature. */
export function createIntegrations(): Integrations {
  return {
    async find(tx, { orgId }, slug) {
      if (isBuiltIn(slug)) return undescribed(slug);
      if (!isCustom(slug)) return findPreset(slug);
      return (await getOwn(tx, orgId, slug)) ?? undescribed(slug);
    },
  };
}
