import type { Tx } from "#src/db/database.ts";
import { UnknownIntegration } from "./errors.ts";
import type { Integration } from "./integration.ts";
import { findPreset } from "./presets.ts";
import { isBuiltIn, isCustom } from "./slug.ts";
import { undescribed } from "./standard.ts";
import { getOwn } from "./store.ts";

/** The integration that has the slug, if anybody has described it: we, or the organisation. */
export async function findDescribed(tx: Tx, orgId: string, slug: string): Promise<Integration | undefined> {
  if (isBuiltIn(slug)) return undescribed(slug);
  return isCustom(slug) ? getOwn(tx, orgId, slug) : findPreset(slug);
}

/** Refuses a slug that nobody has described an integration for. */
export async function requireDescribed(tx: Tx, orgId: string, slug: string): Promise<void> {
  if ((await findDescribed(tx, orgId, slug)) === undefined) throw new UnknownIntegration();
}
