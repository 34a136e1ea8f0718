import type { Tx } from "#src/db/database.ts";
import type { PageRequest } from "#src/platform/paging.ts";
import type { Integration } from "./integration.ts";
import { sourceOf, type Source } from "./messages.ts";
import { presets } from "./presets.ts";
import { builtInSlugs } from "./slug.ts";
import { undescribed } from "./standard.ts";
import { listOwn } from "./store.ts";

/** Which integrations are asked for. */
export interface IntegrationFilter {
  readonly source: Source | undefined;
  /** In slug or name, whatever its case; empty for all. */
  readonly text: string;
}

/** What comes with the service, in the order of the slugs. */
export const provided: readonly Integration[] = [
  ...builtInSlugs.map((slug) => undescribed(slug)),
  ...presets,
].sort((a, b) => (a.slug < b.slug ? -1 : 1));

/** The page of those that match, in the order of their slugs. */
export async function listIntegrations(
  tx: Tx,
  orgId: string,
  { source, text }: IntegrationFilter,
  page: PageRequest,
): Promise<Integration[]> {
  const isAskedFor = ({ slug, name }: Integration) =>
    slug > page.after &&
    (source === undefined || sourceOf(slug) === source) &&
    `${slug} ${name}`.toLowerCase().includes(text.toLowerCase());
  const own = source === undefined || source === "own" ? await listOwn(tx, orgId, text, page) : [];
  return [...provided.filter(isAskedFor), ...own]
    .sort((a, b) => (a.slug < b.slug ? -1 : 1))
    .slice(0, page.limit);
}
